// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {Sources} from "../libraries/Sources.sol";

/// @dev What energy was made from, in one word: 48 bits (Wh) for each source of `Sources`, the first
/// in the lowest bits; the last (`Sources.STORAGE`) is energy of unknown origin.
type Mix is uint256;

using MixLibrary for Mix global;

/// @title MixLibrary: sums and parts of mixes, exact to the Wh
library MixLibrary {
    error MixTooLarge(uint256 energyWh);

    uint256 private constant _FIELD_BITS = 48;

    /// @dev Energy of one source; the caller has checked both.
    function single(uint8 source, uint256 wh) internal pure returns (Mix) {
        return Mix.wrap(wh << _FIELD_BITS * (source - Sources.SOLAR));
    }

    function energyWh(Mix mix, uint8 source) internal pure returns (uint256) {
        return uint48(Mix.unwrap(mix) >> _FIELD_BITS * (source - Sources.SOLAR));
    }

    function totalWh(Mix mix) internal pure returns (uint256 total) {
        for (uint8 source = Sources.SOLAR; source <= Sources.STORAGE; ++source) {
            total += mix.energyWh(source);
        }
    }

    /// @dev A sum that fits one field fits each, so that none runs into its neighbour.
    function plus(Mix mix, Mix other) internal pure returns (Mix) {
        uint256 total = mix.totalWh() + other.totalWh();
        if (total > type(uint48).max) revert MixTooLarge(total);
        return Mix.wrap(Mix.unwrap(mix) + Mix.unwrap(other));
    }

    /// @dev What `wh` of the mix are made from, in whole Wh that sum to `wh`: each source rounded
    /// down, and what is left (less than one Wh a source) of unknown origin, so that no part avoids
    /// more than it had of the whole.
    function part(Mix mix, uint256 wh) internal pure returns (Mix some) {
        uint256 total = mix.totalWh();
        uint256 left = wh;
        for (uint8 source = Sources.SOLAR; source < Sources.STORAGE; ++source) {
            uint256 share = wh * mix.energyWh(source) / total;
            left -= share;
            some = some.plus(single(source, share));
        }
        return some.plus(single(Sources.STORAGE, left));
    }

    /// @dev Grams of CO2-equivalent that `wh` of the mix avoid: an exact fraction, rounded down once.
    function avoidedG(Mix mix, uint256 wh) internal pure returns (uint256) {
        uint256 totalMg;
        for (uint8 source = Sources.SOLAR; source <= Sources.STORAGE; ++source) {
            totalMg += mix.energyWh(source) * Sources.avoidedGPerKwh(source);
        }
        return wh * totalMg / (mix.totalWh() * 1000);
    }
}
