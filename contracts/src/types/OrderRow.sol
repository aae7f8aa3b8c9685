// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

/// @dev Where one row of a batch begins in the calldata.
type OrderRow is uint256;

using OrderRowLibrary for OrderRow global;

/// @title OrderRowLibrary: the fields of a packed row
/// @dev Bytes: account 0..20, side 20, limit 21..29, signed 29..35, executed 35..41,
/// metered 41..47, value 47..55, trades 55..57, terms hash 57..89, r 89..121, vs 121..153.
library OrderRowLibrary {
    uint256 internal constant LENGTH = 153;

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

    /// @dev Signed 48, executed 48, metered 48, value 64, trades 16, and 32 bits of the terms' hash.
    function amounts(OrderRow row) internal pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := calldataload(add(row, 29))
        }
    }

    function r(OrderRow row) internal pure returns (bytes32 word) {
        assembly ("memory-safe") {
            word := calldataload(add(row, 89))
        }
    }

    function vs(OrderRow row) internal pure returns (bytes32 word) {
        assembly ("memory-safe") {
            word := calldataload(add(row, 121))
        }
    }
}
