# The commands of README. Each installs what it needs (Debian packages, as root or with sudo) or
# says what is missing, and then does its work.

SHELL := /bin/bash
export PATH := $(PATH):/usr/sbin:/sbin:$(HOME)/.cargo/bin

TARGET := $(or $(CARGO_TARGET_DIR),target)
# Namespaces need root. Cargo itself does not, so only what it builds is run with sudo.
ifneq ($(shell id -u),0)
ROOT := sudo -E
HOST := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
export CARGO_TARGET_$(HOST)_RUNNER := sudo -E
endif

.PHONY: help run test soak soak-reload fuzz bench image emulate image-test check
.DEFAULT_GOAL := help

help:
	@echo 'make run    the reference cluster on this machine; ends with Ctrl-C (ADMIN=, SITE=, STATE=)'
	@echo 'make test   the whole test suite'
	@echo 'make soak   the simulations of make test ten times over, optimised'
	@echo 'make soak-reload  ten minutes of load while the settings change five times a second (SECONDS=, SEED=)'
	@echo 'make fuzz   every decoder fed by libFuzzer, FUZZ_SECONDS=60 each; needs a nightly toolchain'
	@echo 'make bench  the load balancer beside HAProxy, nginx and others on this machine, a quarter of an hour'
	@echo 'make image  the SD card image for every board, under target/image/'
	@echo 'make emulate    that image in QEMU, admin page on 127.0.0.1:1936 (BOARD=raspi2b|virt, NODES=, ADMIN=)'
	@echo 'make image-test what only the booted image can show; needs make image, takes half an hour'
	@echo 'make check  format, lints, crate arrows and licences'

run:
	@.ci/need-rust
	@.ci/need ip:iproute2 cc:build-essential
	@cargo build --release --locked -p bramble -p lab
	@$(ROOT) $(TARGET)/release/lab up

# Unit tests in parallel, and in each target named `together` a few tests beside each other; whatever
# measures time one after the other.
test:
	@.ci/need-rust
	@.ci/need ip:iproute2 ping:iputils-ping cc:build-essential keepalived:keepalived haproxy:haproxy \
		prometheus-haproxy-exporter:prometheus-haproxy-exporter \
		rsync:rsync python3:python3 cpio:cpio mke2fs:e2fsprogs losetup:mount dnsmasq:dnsmasq-base \
		udhcpd:udhcpd busybox:busybox avahi-daemon:avahi-daemon wpa_supplicant:wpasupplicant \
		chromium:chromium chromedriver:chromium-driver curl:curl openssl:openssl \
		h2load:nghttp2-client
	cargo test --workspace --locked --no-run
	cargo test --workspace --locked --no-fail-fast --lib --bins
	cargo test --workspace --locked --no-fail-fast --test together -- --test-threads=3 together::
	cargo test --workspace --locked --no-fail-fast --test '*' -- --test-threads=1 --skip=together::

soak:
	@.ci/need-rust
	SIM_SEEDS=2000 cargo test --release --locked -p cluster --test simulation -- --nocapture

# The load balancer: no request may fail and memory may not grow. make test has a quarter of a minute.
soak-reload:
	@.ci/need-rust
	SOAK_SECONDS=$(or $(SECONDS),600) $(if $(SEED),SOAK_SEED=$(SEED)) \
		cargo test --release --locked -p proxy --test soak -- --nocapture

# One target at a time. What is found is kept under fuzz/artifacts, what was learnt under fuzz/corpus.
fuzz:
	@.ci/need-rust
	@cargo +nightly fuzz --version >/dev/null 2>&1 || { echo 'make fuzz needs a nightly toolchain and cargo-fuzz:' \
		'rustup toolchain install nightly && cargo install cargo-fuzz' >&2; exit 1; }
	@set -e; for target in $$(cargo +nightly fuzz list); do \
		mkdir -p fuzz/corpus/$$target fuzz/seeds/$$target; \
		cargo +nightly fuzz run $$target fuzz/corpus/$$target fuzz/seeds/$$target -- -dict=fuzz/http.dict \
			-max_total_time=$(or $(FUZZ_SECONDS),60) -rss_limit_mb=2048 -print_final_stats=1; \
	done

# Who takes part besides HAProxy and nginx. What does not build here (pingora needs cmake, and
# minutes the first time) is left out, which the comparison says.
PEERS := hyper pingora

# About a quarter of an hour; BENCH_SECONDS and BENCH_ROUNDS make it longer and steadier,
# BENCH_ONLY='64 KiB;idle' measures a part. Figures are kept under target/bench.
bench:
	@.ci/need-rust
	@.ci/need haproxy:haproxy nginx:nginx wrk:wrk h2load:nghttp2-client strace:strace \
		/usr/lib/nginx/modules/ngx_stream_module.so:libnginx-mod-stream \
		taskset:util-linux valgrind:valgrind cmake:cmake openssl:openssl
	@for peer in $(PEERS); do \
		timeout 1200 cargo build -q --release --manifest-path bench/peers/$$peer/Cargo.toml \
			--target-dir target/bench/peers || echo "bench: $$peer does not build here" >&2; \
	done
	@cargo build --release --locked -p bench
	@$(TARGET)/release/bench

image:
	@.ci/need-rust
	@$(ROOT) $(MAKE) --no-print-directory -C image

# The newest QEMU there is: older ones do not know the board well enough.
EMULATOR := qemu-system-arm:qemu-system-arm arm-linux-gnueabihf-g++:g++-arm-linux-gnueabihf \
	fdtput:device-tree-compiler mcopy:mtools e2fsck:e2fsprogs zstd:zstd cpio:cpio ip:iproute2

target/image/bramble.img:
	@$(MAKE) --no-print-directory image

emulate: target/image/bramble.img
	@.ci/need-rust
	@.ci/need $(EMULATOR)
	@cargo build --release --locked -p emulator
	@$(ROOT) $(TARGET)/release/emulate $(or $(BOARD),raspi2b) --nodes $(or $(NODES),1) \
		--admin $(or $(ADMIN),127.0.0.1:1936)

image-test: target/image/bramble.img
	@.ci/need-rust
	@.ci/need $(EMULATOR)
	BRAMBLE_IMAGE=$(CURDIR)/target/image/bramble.img \
		cargo test --locked -p emulator --no-fail-fast -- --test-threads=1 --nocapture

check:
	@.ci/need-rust
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo test --locked --test arrows
	@if command -v cargo-deny >/dev/null; then cargo deny check; \
	else echo 'check: cargo-deny is not installed, licences and advisories were not looked at' >&2; fi
