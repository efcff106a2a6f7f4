# The images of Cordwood's long-running parts, one target each: a binary, the libraries it links, CA certificates, two names in
# /etc/passwd, and nothing else (no shell, no package manager). `scripts/images` lays out rootfs/ and builds them all.
FROM scratch AS base
COPY rootfs/ /
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
# Nobody in particular; the chart makes the one exception (the agent reads root's log files) visible where it is made.
USER 65532:65532

FROM base AS agent
ENTRYPOINT ["/usr/bin/cordwood-agent"]

FROM base AS writer
ENTRYPOINT ["/usr/bin/cordwood-writer"]

FROM base AS operator
ENTRYPOINT ["/usr/bin/cordwood-operator"]

FROM base AS gateway
ENTRYPOINT ["/usr/bin/cordwood-gateway"]
