# The image of Holdfast: `docker build -t holdfast .`. It contains one binary, which runs as an ordinary user.
# Commands: `holdfast --help`. Settings: config/default.toml. Data: /var/lib/holdfast.
#
# The old builder is enough (DOCKER_BUILDKIT=0). To build without a network, run `cargo vendor` first: a folder
# `vendor` replaces crates.io.

# This stage keeps only manifests and creates an empty crate for each. Its output changes only when a manifest
# changes, so the next stage's build of all dependencies stays cached.
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
# The toolchain comes from the base image: the version of rust-toolchain.toml, without developer tools.
ENV SQLX_OFFLINE=true CARGO_INCREMENTAL=0
COPY --from=manifests /src .
RUN if [ -d vendor ]; then \
        printf '[source.crates-io]\nreplace-with = "vendored"\n[source.vendored]\ndirectory = "/src/vendor"\n' > /usr/local/cargo/config.toml; \
    fi \
    && cargo build --profile dist --locked -p holdfast-cli --bin holdfast
COPY . .
# The empty crates were built after these files were written. New times make Cargo build again.
RUN find crates -name '*.rs' -exec touch {} + \
    && cargo build --profile dist --locked -p holdfast-cli --bin holdfast \
    && cp target/dist/holdfast /holdfast

FROM debian:bookworm-slim
# Needed for buckets at a provider, which are reached by TLS.
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
# For `serve` and `up`. A worker has no API; its service disables this check.
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s --retries=3 CMD ["holdfast", "healthcheck"]
# The binary is process 1. On SIGTERM it returns its work to the queue and ends.
STOPSIGNAL SIGTERM
ENTRYPOINT ["holdfast"]
CMD ["serve"]
