FROM scratch
LABEL a=1 b="two words"
ENV A=1 B=$A
EXPOSE 80 53/udp
VOLUME /data
STOPSIGNAL SIGINT
SHELL ["/bin/bash", "-c"]
HEALTHCHECK --interval=5s CMD curl localhost
CMD serve
