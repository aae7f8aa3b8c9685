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

    /// @dev The same moment and registers under sequence 0, for a key that counts anew.
    function beforeFirst(PackedReading reading) internal pure returns (PackedReading) {
        uint256 sequenceBits = uint256(type(uint40).max) << 176;
        return PackedReading.wrap(PackedReading.unwrap(reading) & ~sequenceBits);
    }

    /// @dev True when no register can have shown both: one moment with two readings, or a register
    /// that falls with time. In whatever order they are given.
    function contradictsEnergy(PackedReading a, PackedReading b) internal pure returns (bool) {
        if (a.timestamp() > b.timestamp()) (a, b) = (b, a);
        if (b.consumptionWh() < a.consumptionWh() || b.productionWh() < a.productionWh()) {
            return true;
        }
        if (a.timestamp() < b.timestamp()) return false;
        return b.consumptionWh() > a.consumptionWh() || b.productionWh() > a.productionWh();
    }

    /// @dev True when no chain of readings can hold both: one sequence number for two moments, or
    /// sequence and time that do not rise together. In whatever order they are given.
    function contradictsOrder(PackedReading a, PackedReading b) internal pure returns (bool) {
        if (a.sequence() > b.sequence()) (a, b) = (b, a);
        if (a.sequence() < b.sequence()) return b.timestamp() <= a.timestamp();
        return a.timestamp() != b.timestamp();
    }
}
