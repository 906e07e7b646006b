# The image of Holdfast: `docker build -t holdfast .`. One binary, run as an ordinary user; the commands are those of
# `holdfast --help`, the settings those of config/default.toml, what is kept lies in /var/lib/holdfast.
#
# Needs nothing beyond the old builder (DOCKER_BUILDKIT=0). Without a network, `cargo vendor` first: a folder `vendor`
# is taken for crates.io.

# Manifests, and a bare crate for each. What this stage makes changes only when they do, and with it what follows.
FROM rust:1.95-bookworm AS manifests
WORKDIR /src
COPY . .
RUN find . -type f ! -name Cargo.toml ! -name Cargo.lock ! -path './vendor/*' -delete \
    && find . -depth -type d -empty -delete \
    && mkdir -p tests/it && echo 'fn main() {}' > tests/it/main.rs \
    && for crate in crates/*; do \
        mkdir -p "$crate/src" && touch "$crate/src/lib.rs" && echo 'fn main() {}' > "$crate/src/main.rs"; \
    done

FROM rust:1.95-bookworm AS build
WORKDIR /src
# The toolchain is the image's: the one of rust-toolchain.toml, without its tools for developers.
ENV SQLX_OFFLINE=true CARGO_INCREMENTAL=0
COPY --from=manifests /src .
RUN if [ -d vendor ]; then \
        printf '[source.crates-io]\nreplace-with = "vendored"\n[source.vendored]\ndirectory = "/src/vendor"\n' > /usr/local/cargo/config.toml; \
    fi \
    && cargo build --release --locked -p holdfast-cli --bin holdfast
COPY . .
# The bare crates were built later than these files were written.
RUN find crates -name '*.rs' -exec touch {} + \
    && cargo build --release --locked -p holdfast-cli --bin holdfast \
    && cp target/release/holdfast /holdfast

FROM debian:bookworm-slim
# Buckets at a provider are reached by TLS.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
RUN echo 'holdfast:x:10001:' >> /etc/group \
    && echo 'holdfast:x:10001:10001::/var/lib/holdfast:/usr/sbin/nologin' >> /etc/passwd \
    && install -d -o 10001 -g 10001 /var/lib/holdfast
COPY --from=build /holdfast /usr/local/bin/holdfast
COPY config/default.toml config/compose.toml /etc/holdfast/
ENV HOLDFAST_DATA=/var/lib/holdfast HOLDFAST__HTTP__LISTEN=0.0.0.0:8080
USER 10001:10001
WORKDIR /var/lib/holdfast
VOLUME /var/lib/holdfast
EXPOSE 8080
# Of `serve` and `up`; a worker has none, and says so in its own service.
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s --retries=3 CMD ["holdfast", "healthcheck"]
# The binary is process 1: SIGTERM is its own, and it ends by itself once work is given back.
STOPSIGNAL SIGTERM
ENTRYPOINT ["holdfast"]
CMD ["serve"]
