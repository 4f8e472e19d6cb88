# A program is compiled on the builder's machine and shipped for the target.
FROM --platform=$BUILDPLATFORM alpine AS build
ARG TARGETARCH
WORKDIR /src
COPY go.mod *.go ./
RUN --mount=type=cache,target=/root/.cache GOARCH=$TARGETARCH go build -o /out/app .

FROM alpine
COPY --from=build --chown=app:app --chmod=0755 /out/app /usr/bin/
USER app
ENTRYPOINT ["app"]
