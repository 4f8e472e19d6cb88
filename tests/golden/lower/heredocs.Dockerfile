FROM alpine
ARG NAME=world
RUN <<EOF
echo one
echo two
EOF
RUN <<'SCRIPT'
#!/usr/bin/env python3
print("three")
SCRIPT
COPY <<HELLO <<"RAW" /etc/
hello $NAME
HELLO
hello $NAME
RAW
