// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

/// @dev A reading in one word, from the high bits: timestamp 40 (UTC s), sequence 40, consumption
/// register 64 (Wh), production register 64 (Wh), flags 16, zero 32.
type PackedReading is uint256;

using PackedReadingLibrary for PackedReading global;

/// @title PackedReadingLibrary: the fields of a packed reading
library PackedReadingLibrary {
    function timestamp(PackedReading reading) internal pure returns (uint256) {
        return PackedReading.unwrap(reading) >> 216;
    }

    function sequence(PackedReading reading) internal pure returns (uint256) {
        return uint40(PackedReading.unwrap(reading) >> 176);
    }

    function consumptionWh(PackedReading reading) internal pure returns (uint256) {
        return uint64(PackedReading.unwrap(reading) >> 112);
    }

    function productionWh(PackedReading reading) internal pure returns (uint256) {
        return uint64(PackedReading.unwrap(reading) >> 48);
    }

    function flags(PackedReading reading) internal pure returns (uint256) {
        return uint16(PackedReading.unwrap(reading) >> 32);
    }

    /// @dev The unused low bits are zero, so that one reading has one form.
    function isCanonical(PackedReading reading) internal pure returns (bool) {
        return uint32(PackedReading.unwrap(reading)) == 0;
    }
}
