# Caddy with all standard modules and this checkout. docs/container.md tells how to
# use it:
#
#   docker build --tag caddy-iis .
FROM golang:1.26-alpine AS build
RUN go install github.com/caddyserver/xcaddy/cmd/xcaddy@v0.4.5
WORKDIR /src
COPY . .
# What `caddy version` says before the version of Caddy.
ARG VERSION=container
# The module has the version that a replaced one gets, so that nobody is asked for it.
RUN CGO_ENABLED=0 GOWORK=off \
    XCADDY_GO_BUILD_FLAGS="-trimpath -tags nobadger,nomysql,nopgx -ldflags '-s -w -X github.com/caddyserver/caddy/v2.CustomVersion=caddy-iis/${VERSION}'" \
    xcaddy build v2.11.9 --output /caddy --with github.com/caddy-iis/caddy-iis@v0.0.0-00010101000000-000000000000=/src

FROM alpine:3.22
# mailcap has the types of files. The program may bind ports below 1024, and nothing
# else that is root's: with `cap_drop: [ALL]` add NET_BIND_SERVICE.
COPY --from=build /caddy /usr/bin/caddy
RUN apk add --no-cache ca-certificates curl libcap mailcap tzdata \
    && setcap cap_net_bind_service=+ep /usr/bin/caddy \
    && apk del libcap \
    && addgroup -g 1000 caddy \
    && adduser -D -H -h /data -u 1000 -G caddy -s /sbin/nologin caddy \
    && install -d -o caddy -g caddy -m 700 /data /config /run/caddy
COPY packaging/Caddyfile /etc/caddy/Caddyfile
# Certificates that it obtains and sites of sites_from; and the saved configuration.
ENV XDG_DATA_HOME=/data XDG_CONFIG_HOME=/config
VOLUME /data /config
EXPOSE 80 443 443/udp
USER 1000:1000
# Healthy is who serves a configuration with all of its sources read. The admin endpoint
# may be a socket: unix//run/caddy/admin.sock|0220
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s \
    CMD case "$CADDY_ADMIN" in \
        unix/*) socket=${CADDY_ADMIN#unix/} && curl -fsS -o /dev/null --unix-socket "${socket%|*}" http://localhost/iis/ready ;; \
        *) curl -fsS -o /dev/null "http://${CADDY_ADMIN:-127.0.0.1:2019}/iis/ready" ;; \
        esac
CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile"]
