//! Names of boards in a bundle.

/// The name of this board by its device tree's `compatible`, NUL-separated, most specific first.
/// None for a board that has none.
#[must_use]
pub fn name(compatible: &[u8]) -> Option<&'static str> {
    compatible.split(|b| *b == 0).find_map(|word| match word {
        b"raspberrypi,2-model-b" | b"raspberrypi,2-model-b-rev2" | b"brcm,bcm2836" => Some("pi2"),
        b"raspberrypi,model-zero-2-w" | b"raspberrypi,model-zero-2" => Some("pi02"),
        b"brcm,bcm2837" => Some("pi3"),
        b"brcm,bcm2711" => Some("pi4"),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_trees_of_linux() {
        for (compatible, wanted) in [
            ("raspberrypi,2-model-b\0brcm,bcm2836\0", Some("pi2")),
            ("raspberrypi,2-model-b-rev2\0brcm,bcm2837\0", Some("pi2")),
            ("raspberrypi,3-model-b\0brcm,bcm2837\0", Some("pi3")),
            ("raspberrypi,3-model-b-plus\0brcm,bcm2837\0", Some("pi3")),
            ("raspberrypi,model-zero-2-w\0brcm,bcm2837\0", Some("pi02")),
            ("raspberrypi,4-model-b\0brcm,bcm2711\0", Some("pi4")),
            ("linux,dummy-virt\0", None),
            ("", None),
        ] {
            assert_eq!(name(compatible.as_bytes()), wanted, "{compatible}");
        }
    }
}
