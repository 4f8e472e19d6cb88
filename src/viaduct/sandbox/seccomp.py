"""The system calls that a step may make: the peers' default profile as a table of our own. Pure.

A call is allowed, refused with EPERM because it reaches beyond the sandbox, or (one that was not
known when this was written) answered with ENOSYS, upon which C libraries use an older one. Names
that a runtime's libseccomp does not know are passed over by it.
"""

from __future__ import annotations

import errno
import socket
from typing import TypeAlias

from viaduct.sandbox import syscalls

Json: TypeAlias = dict[str, "Json"] | list["Json"] | str | int | bool | None

_FILES = """
    access cachestat chdir chmod chown chown32 chroot close close_range copy_file_range creat dup
    dup2 dup3 faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod
    fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock
    fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64
    futimesat getcwd getdents getdents64 getxattr getxattrat inotify_add_watch inotify_init
    inotify_init1 inotify_rm_watch ioctl lchown lchown32 lgetxattr link linkat listmount listxattr
    listxattrat llistxattr lremovexattr lseek _llseek lsetxattr lstat lstat64 mkdir mkdirat mknod
    mknodat name_to_handle_at newfstatat open openat openat2 pread64 preadv preadv2 pwrite64 pwritev
    pwritev2 read readahead readlink readlinkat readv removexattr removexattrat rename renameat
    renameat2 rmdir sendfile sendfile64 setxattr setxattrat splice stat stat64 statfs statfs64
    statmount statx symlink symlinkat sync sync_file_range sync_file_range2 syncfs tee truncate
    truncate64 umask unlink unlinkat utime utimensat utimensat_time64 utimes vmsplice write writev
"""
_MEMORY = """
    brk madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall
    mmap mmap2 mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free
    pkey_mprotect remap_file_pages
"""
_PROCESSES = """
    capget capset execve execveat exit exit_group fork getegid getegid32 geteuid geteuid32 getgid
    getgid32 getgroups getgroups32 getpgid getpgrp getpid getppid getpriority getresgid getresgid32
    getresuid getresuid32 getrlimit ugetrlimit getrusage getsid gettid getuid getuid32 kill
    landlock_add_rule landlock_create_ruleset landlock_restrict_self pidfd_open pidfd_send_signal
    prctl prlimit64 process_mrelease process_vm_readv process_vm_writev ptrace restart_syscall rseq
    seccomp set_robust_list get_robust_list set_thread_area get_thread_area set_tid_address setfsgid
    setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setpgid setpriority
    setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit
    setsid setuid setuid32 tgkill times tkill uname vfork wait4 waitid waitpid
"""
_SCHEDULING = """
    getcpu ioprio_get ioprio_set sched_get_priority_max sched_get_priority_min sched_getaffinity
    sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval
    sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler
    sched_yield
"""
_SIGNALS = """
    alarm getitimer pause rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn
    rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo setitimer sigaltstack
    signalfd signalfd4 sigprocmask sigreturn
"""
_TIME = """
    adjtimex clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime
    clock_gettime64 clock_nanosleep clock_nanosleep_time64 gettimeofday nanosleep time timer_create
    timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64
    timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64
"""
_WAITING = """
    epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait
    epoll_wait_old eventfd eventfd2 futex futex_requeue futex_time64 futex_wait futex_waitv
    futex_wake io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup
    io_submit pipe pipe2 poll ppoll ppoll_time64 pselect6 pselect6_time64 select _newselect
"""
_TALKING = """
    accept accept4 bind connect getpeername getsockname getsockopt ipc listen mq_getsetattr
    mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64
    mq_unlink msgctl msgget msgrcv msgsnd recv recvfrom recvmmsg recvmmsg_time64 recvmsg semctl
    semget semop semtimedop semtimedop_time64 send sendmmsg sendmsg sendto setsockopt shmat shmctl
    shmdt shmget shutdown socketcall socketpair
"""
_MACHINE = """
    arch_prctl arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush getrandom modify_ldt
    riscv_flush_icache riscv_hwprobe s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr
    set_tls swapcontext sysinfo uretprobe
"""

ALLOWED = tuple(
    " ".join(
        (
            _FILES,
            _MEMORY,
            _PROCESSES,
            _SCHEDULING,
            _SIGNALS,
            _TIME,
            _WAITING,
            _TALKING,
            _MACHINE,
        )
    ).split()
)

#: What needs a capability that a step has not, or reaches into the kernel or other processes.
REFUSED = tuple(
    """
    acct add_key bpf clock_settime clock_settime64 create_module delete_module fanotify_init
    finit_module fsconfig fsmount fsopen fspick get_kernel_syms get_mempolicy init_module
    io_uring_enter io_uring_register io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load
    keyctl lookup_dcookie lsm_get_self_attr lsm_list_modules lsm_set_self_attr mbind
    migrate_pages mount mount_setattr move_mount move_pages nfsservctl open_by_handle_at
    open_tree pciconfig_iobase pciconfig_read pciconfig_write perf_event_open pidfd_getfd
    pivot_root process_madvise query_module quotactl quotactl_fd reboot request_key
    set_mempolicy set_mempolicy_home_node setdomainname sethostname setns settimeofday stime
    swapoff swapon _sysctl sysfs syslog umount umount2 unshare uselib userfaultfd ustat vhangup
    vm86 vm86old vserver
    """.split()
)

# Ownership cannot change where only one id exists; a step that tries is told that it did.
_OWNERSHIP = ("chown", "chown32", "fchown", "fchown32", "fchownat", "lchown", "lchown32")

# personality(2): the default, the 32-bit one, with UNAME26 each, and the query.
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)

# mount, cgroup, uts, ipc, user, pid and network namespaces
_NEW_NAMESPACES = 0x7E020000

_AF_ALG, _AF_VSOCK = int(socket.AF_ALG), int(socket.AF_VSOCK)

#: The seccomp names of a machine (`uname -m`): its own, then what its kernel also executes.
_ARCHITECTURES: dict[str, tuple[str, ...]] = {
    "x86_64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86"),
    "aarch64": ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
    "armv7l": ("SCMP_ARCH_ARM",),
    "i686": ("SCMP_ARCH_X86",),
    "ppc64le": ("SCMP_ARCH_PPC64LE",),
    "ppc64": ("SCMP_ARCH_PPC64",),
    "riscv64": ("SCMP_ARCH_RISCV64",),
    "s390x": ("SCMP_ARCH_S390X",),
    "loongarch64": ("SCMP_ARCH_LOONGARCH64",),
}


def profile(machine: str, *, squashed: bool = False) -> Json:
    """The `linux.seccomp` object for steps on a host of `machine` (`uname -m`).

    An emulator's own calls are the host's, so emulated steps need no other. With `squashed`, calls
    that change ownership succeed without doing anything.
    """
    plain = [name for name in ALLOWED if not (squashed and name in _OWNERSHIP)]
    rules: list[Json] = [
        _rule(plain, "SCMP_ACT_ALLOW"),
        _rule(REFUSED, "SCMP_ACT_ERRNO", code=errno.EPERM),
        # clone3 passes its flags in memory, where no filter sees them; libc then uses clone.
        _rule(["clone3"], "SCMP_ACT_ERRNO", code=errno.ENOSYS),
        *_clone(machine),
        *_socket(),
        *(
            _rule(["personality"], "SCMP_ACT_ALLOW", _argument(0, value, "SCMP_CMP_EQ"))
            for value in _PERSONALITIES
        ),
    ]
    if squashed:
        rules.append(_rule(_OWNERSHIP, "SCMP_ACT_ERRNO", code=0))
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": errno.ENOSYS,
        "architectures": list(_ARCHITECTURES.get(machine, ())),
        "syscalls": rules,
    }


def _clone(machine: str) -> list[Json]:
    flags = 1 if machine == "s390x" else 0
    new = (syscalls.CLONE_NEWNS, 1 << 25, 1 << 26, 1 << 27, 1 << 28, 1 << 29, 1 << 30)
    return [
        _rule(
            ["clone"],
            "SCMP_ACT_ALLOW",
            _argument(flags, _NEW_NAMESPACES, "SCMP_CMP_MASKED_EQ", 0),
        ),
        *(
            _rule(
                ["clone"],
                "SCMP_ACT_ERRNO",
                _argument(flags, bit, "SCMP_CMP_MASKED_EQ", bit),
                code=errno.EPERM,
            )
            for bit in new
        ),
    ]


def _socket() -> list[Json]:
    """Every address family but the kernel's crypto and the hypervisor's sockets."""
    return [
        _rule(["socket"], "SCMP_ACT_ALLOW", _argument(0, _AF_ALG, "SCMP_CMP_LT")),
        _rule(["socket"], "SCMP_ACT_ALLOW", _argument(0, _AF_ALG + 1, "SCMP_CMP_EQ")),
        _rule(["socket"], "SCMP_ACT_ALLOW", _argument(0, _AF_VSOCK, "SCMP_CMP_GT")),
        *(
            _rule(
                ["socket"],
                "SCMP_ACT_ERRNO",
                _argument(0, family, "SCMP_CMP_EQ"),
                code=errno.EPERM,
            )
            for family in (_AF_ALG, _AF_VSOCK)
        ),
    ]


def _rule(
    names: list[str] | tuple[str, ...],
    action: str,
    argument: Json = None,
    *,
    code: int | None = None,
) -> Json:
    rule: dict[str, Json] = {"names": list(names), "action": action}
    if argument is not None:
        rule["args"] = [argument]
    if code is not None:
        rule["errnoRet"] = code
    return rule


def _argument(index: int, value: int, operator: str, second: int | None = None) -> Json:
    out: dict[str, Json] = {"index": index, "value": value, "op": operator}
    if second is not None:
        out["valueTwo"] = second
    return out
