################################################################################
#
# bramble
#
################################################################################

BRAMBLE_VERSION = $(shell sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' \
	$(BR2_EXTERNAL_BRAMBLE_PATH)/../Cargo.toml)
BRAMBLE_SITE = $(realpath $(BR2_EXTERNAL_BRAMBLE_PATH)/..)
BRAMBLE_SITE_METHOD = local
BRAMBLE_LICENSE = MIT or Apache-2.0
BRAMBLE_LICENSE_FILES = LICENSE-MIT LICENSE-APACHE

# What cargo and make image have built in the checkout is not its source.
BRAMBLE_OVERRIDE_SRCDIR_RSYNC_EXCLUSIONS = \
	--exclude=/target --exclude=/.cache --exclude='*.img'
HOST_BRAMBLE_OVERRIDE_SRCDIR_RSYNC_EXCLUSIONS = \
	$(BRAMBLE_OVERRIDE_SRCDIR_RSYNC_EXCLUSIONS)

# The image tool makes slots, bundles, the boot script and keys on the
# build machine; post-build.sh and post-image.sh call it.
BRAMBLE_DEPENDENCIES = host-bramble
HOST_BRAMBLE_SUBDIR = image/tool

# Buildroot vendors crates when it downloads a package, and a local one is
# not downloaded. So it is done here, into the same place and with the same
# result; the crates themselves are kept in the download directory.
define BRAMBLE_VENDOR
	mkdir -p $(@D)/.cargo $(BR_CARGO_HOME)
	cd $(@D) && \
	$(HOST_MAKE_ENV) $(PKG_COMMON_CARGO_ENV) \
		flock $(BR_CARGO_HOME)/.br-lock \
		cargo vendor --locked VENDOR >.cargo/config.toml
endef
BRAMBLE_PRE_CONFIGURE_HOOKS += BRAMBLE_VENDOR
HOST_BRAMBLE_PRE_CONFIGURE_HOOKS += BRAMBLE_VENDOR

# The infrastructure's own commands, but with the profile image/ builds with,
# and with the two of its settings that PKG_CARGO_ENV would take away.
BRAMBLE_CARGO_ENV = \
	CARGO_PROFILE_RELEASE_OPT_LEVEL="3" \
	CARGO_PROFILE_RELEASE_LTO="thin"

define BRAMBLE_BUILD_CMDS
	cd $(@D) && \
	$(TARGET_MAKE_ENV) \
		$(TARGET_CONFIGURE_OPTS) \
		$(PKG_CARGO_ENV) \
		$(BRAMBLE_CARGO_ENV) \
		cargo build \
			--offline \
			--locked \
			--profile image \
			--manifest-path Cargo.toml \
			--package bramble
endef

# Process 1 and the program called by name are one file.
define BRAMBLE_INSTALL_TARGET_CMDS
	$(INSTALL) -D -m 0755 $(@D)/target/$(RUSTC_TARGET_NAME)/image/bramble \
		$(TARGET_DIR)/init
	mkdir -p $(TARGET_DIR)/usr/bin
	ln -sf ../../init $(TARGET_DIR)/usr/bin/bramble
endef

$(eval $(cargo-package))
$(eval $(host-cargo-package))
