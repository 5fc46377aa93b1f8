# The gateway as an image: built from source, then the program with the three libraries and the trusted roots that it
# needs, and nothing else: no shell, no package manager.
#
#     docker build --tag deskgate .
#
# Both bases are arguments, so that they can come from a mirror or be made locally. They must be of the same Debian
# release, because the program uses that system's C library.
ARG BUILD_BASE=rust:1-bookworm
ARG RUNTIME_BASE=debian:bookworm-slim

# What the program needs of a system.
FROM ${RUNTIME_BASE} AS system
LABEL deskgate.stage=image
# Lines for apt.conf that this build needs.
ARG APT_SETTINGS=""
# The trusted roots are for the connection to the OpenID provider. Without nsswitch.conf, /etc/hosts would not count.
RUN printf '%s\n' "$APT_SETTINGS" > /etc/apt/apt.conf.d/99build \
    && apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates libgcc-s1 \
    && mkdir -p /image/etc/ssl/certs \
    && cp -L /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
    && echo 'hosts: files dns' > /image/etc/nsswitch.conf \
    && echo 'root:x:0:0::/:/nonexistent' > /image/etc/passwd \
    && echo 'deskgate:x:10001:10001::/var/lib/deskgate:/nonexistent' >> /image/etc/passwd \
    && printf 'root:x:0:\ndeskgate:x:10001:\n' > /image/etc/group \
    && cd / && cp -L --parents lib*/ld-linux* lib/*-linux-gnu/libc.so.6 lib/*-linux-gnu/libm.so.6 \
        lib/*-linux-gnu/libgcc_s.so.1 /image/ \
    && install -d -m 1777 /image/tmp \
    && install -d -o 10001 -g 10001 -m 0750 /image/var/lib/deskgate \
    && install -d -o 10001 -g 10001 -m 0770 /image/run/deskgate

# Everything but the program. One that was built elsewhere can be put onto this stage: docker build --target base
FROM scratch AS base
COPY --from=system /image /
ENV PATH=/usr/local/bin
# Relative paths of the settings begin here: deskgate.toml, data/deskgate.db, certs/tls.crt, certs/tls.key. Put a volume here.
WORKDIR /var/lib/deskgate
USER 10001:10001
EXPOSE 8443
# It reads the same settings as `serve`.
HEALTHCHECK --interval=15s --timeout=10s --start-period=30s --retries=3 CMD ["deskgate", "health"]
# A start brings the schema of the database up to date before it serves.
ENTRYPOINT ["/usr/local/bin/deskgate"]
CMD ["serve"]

FROM ${BUILD_BASE} AS build
LABEL deskgate.stage=image
ARG PROFILE=release
WORKDIR /build
# It writes into the program what the program is made of, for `cargo audit bin` and other readers.
RUN cargo install --locked cargo-auditable --version '^0.7'
COPY Cargo.toml Cargo.lock askama.toml ./
# The manifest names them; nothing of them is built.
COPY benches/pure.rs benches/pure.rs
COPY fuzz/Cargo.toml fuzz/Cargo.toml
COPY migrations migrations
COPY src src
RUN cargo auditable build --profile "$PROFILE" --locked --bin deskgate && cp target/*/deskgate .

FROM base
COPY --from=build /build/deskgate /usr/local/bin/deskgate
