FROM alpine
COPY --link a b/
COPY --parents --exclude=*.tmp src/./x/**/*.c /inc/
ADD --checksum=sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d https://example.com/a%20b.tar?x=y /tmp/
ADD --keep-git-dir=true https://example.com/repo.git#v1:docs /docs
ADD archive.tar.gz /opt
COPY --from=alpine --chmod=u=rwX,go=rX /etc/os-release .
