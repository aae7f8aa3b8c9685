// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

/// @dev Where one row of a batch begins in the calldata.
type OrderRow is uint256;

using OrderRowLibrary for OrderRow global;

/// @title OrderRowLibrary: the fields of a packed row
/// @dev Bytes: account 0..20, side 20, limit 21..29, signed 29..35, executed 35..41, short 41..47,
/// metered 47..53, value 53..61, trades 61..63, terms hash 63..95, r 95..127, vs 127..159.
library OrderRowLibrary {
    uint256 internal constant LENGTH = 159;

    /// @dev Account 160, side 8, limit 64, and 24 bits of the signed energy.
    function head(OrderRow row) internal pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := calldataload(row)
        }
    }

    function account(OrderRow row) internal pure returns (address owner) {
        assembly ("memory-safe") {
            owner := shr(96, calldataload(row))
        }
    }

    /// @dev 0 buys, 1 sells.
    function side(OrderRow row) internal pure returns (uint256 code) {
        assembly ("memory-safe") {
            code := byte(20, calldataload(row))
        }
    }

    function limitMicroPerKwh(OrderRow row) internal pure returns (int256 limit) {
        assembly ("memory-safe") {
            limit := signextend(7, shr(24, calldataload(row)))
        }
    }

    /// @dev Signed 48, executed 48, short 48, metered 48 (all Wh), value 64 (micro).
    function amounts(OrderRow row) internal pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := calldataload(add(row, 29))
        }
    }

    function trades(OrderRow row) internal pure returns (uint256 count) {
        assembly ("memory-safe") {
            count := shr(240, calldataload(add(row, 61)))
        }
    }

    function termsHash(OrderRow row) internal pure returns (bytes32 word) {
        assembly ("memory-safe") {
            word := calldataload(add(row, 63))
        }
    }

    function r(OrderRow row) internal pure returns (bytes32 word) {
        assembly ("memory-safe") {
            word := calldataload(add(row, 95))
        }
    }

    function vs(OrderRow row) internal pure returns (bytes32 word) {
        assembly ("memory-safe") {
            word := calldataload(add(row, 127))
        }
    }
}
