FROM alpine AS tools
FROM alpine
WORKDIR /work
RUN --mount=from=tools,source=/bin,target=bin --mount=target=/src,rw \
    --mount=type=tmpfs,target=/tmp,size=1m --mount=type=cache,id=apt,target=/var/cache/apt,sharing=locked \
    --mount=type=secret,id=token,env=TOKEN,required --mount=type=ssh \
    --network=none make
