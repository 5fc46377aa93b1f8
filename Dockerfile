# The gateway as an image: built from source, then only the program and the system's trusted roots.
#
#     docker build --tag deskgate .
#
# Both bases are arguments, so that they can come from a mirror or be made locally. They must be of the same Debian
# release, because the program uses the system's C library.
ARG BUILD_BASE=rust:1-bookworm
ARG RUNTIME_BASE=debian:bookworm-slim

FROM ${BUILD_BASE} AS build
WORKDIR /build
COPY Cargo.toml Cargo.lock askama.toml ./
# The workspace names it; nothing of it is built.
COPY fuzz/Cargo.toml fuzz/Cargo.toml
COPY migrations migrations
COPY src src
RUN cargo build --release --locked --bin deskgate

FROM ${RUNTIME_BASE}
# Lines for apt.conf that this build needs and the image must not keep.
ARG APT_SETTINGS=""
# The trusted roots are for the connection to the OpenID provider.
RUN printf '%s\n' "$APT_SETTINGS" > /etc/apt/apt.conf.d/99build \
    && apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /etc/apt/apt.conf.d/99build /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/deskgate \
        --shell /usr/sbin/nologin deskgate \
    && install -d -o deskgate -g deskgate -m 0750 /var/lib/deskgate
COPY --from=build /build/target/release/deskgate /usr/local/bin/deskgate

# Relative paths of the settings begin here: data/deskgate.db, certs/tls.crt, certs/tls.key.
WORKDIR /var/lib/deskgate
VOLUME /var/lib/deskgate
USER 10001:10001
EXPOSE 8443
# It reads the same settings as `serve`. Docker wants 1 for every failure; the program also knows 2.
HEALTHCHECK --interval=15s --timeout=10s --start-period=30s --retries=3 CMD deskgate health || exit 1
ENTRYPOINT ["deskgate"]
CMD ["serve"]
