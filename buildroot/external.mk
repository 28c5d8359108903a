include $(sort $(wildcard $(BR2_EXTERNAL_BRAMBLE_PATH)/package/*/*.mk))

ifeq ($(BR2_PACKAGE_BRAMBLE),y)

# A line of the fragment that did not take effect is a driver that is
# missing on somebody's board: an error before the long build, not after.
define BRAMBLE_CHECK_KERNEL
	$(BR2_EXTERNAL_BRAMBLE_PATH)/board/bramble/check-kernel.sh $(@D)/.config \
		$(call qstrip,$(BR2_LINUX_KERNEL_CONFIG_FRAGMENT_FILES))
endef
LINUX_POST_CONFIGURE_HOOKS += BRAMBLE_CHECK_KERNEL

# Two USB radios whose drivers the kernel has, and whose firmware
# linux-firmware has, but which no option of Buildroot selects. Their
# licence texts come with MT7601U and RTL_81XX.
ifeq ($(BR2_PACKAGE_LINUX_FIRMWARE_MEDIATEK_MT7601U),y)
LINUX_FIRMWARE_FILES += mediatek/mt7610u.bin
endif
ifeq ($(BR2_PACKAGE_LINUX_FIRMWARE_RTL_81XX),y)
LINUX_FIRMWARE_FILES += rtlwifi/rtl8192fufw.bin
endif

endif
