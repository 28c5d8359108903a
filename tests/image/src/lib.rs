//! Boots the card image in QEMU.
