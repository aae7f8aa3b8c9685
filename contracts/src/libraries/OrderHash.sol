// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {OrderRow} from "../types/OrderRow.sol";

/// @dev Where in memory the words of an order's digest lie: the 8 words of `abi.encode(typeHash,
/// account, market, deliveryStart, side, energyWh, limit, termsHash)`, then from 0x11e on the bytes
/// `0x1901 || domain || structHash`.
type OrderHasher is uint256;

using OrderHash for OrderHasher global;

/// @title OrderHash: EIP-712 digests of one interval's orders, all in the same memory
library OrderHash {
    bytes32 internal constant TYPE_HASH = keccak256(
        "Order(address account,string market,uint64 deliveryStart,uint8 side,uint64 energyWh,"
        "int64 limitPriceMicroPerKwh,Terms terms)"
        "Terms(uint8 timeInForce,uint64 validFrom,uint64 validUntil,bytes32 condition,"
        "bytes32 bundle,bytes32 preferences,string clientId,bytes32 salt)"
    );

    /// @dev Fill in what all orders of one market and interval share.
    function prepare(bytes32 domain, bytes32 marketHash, uint256 deliveryStart)
        internal
        pure
        returns (OrderHasher hasher)
    {
        bytes32 typeHash = TYPE_HASH;
        assembly ("memory-safe") {
            hasher := mload(0x40)
            mstore(0x40, add(hasher, 0x160))
            mstore(hasher, typeHash)
            mstore(add(hasher, 0x40), marketHash)
            mstore(add(hasher, 0x60), deliveryStart)
            mstore(add(hasher, 0x100), 0x1901)
            mstore(add(hasher, 0x120), domain)
        }
    }

    /// @dev The digest of an order given by its fields.
    function digest(
        OrderHasher hasher,
        address account,
        uint256 side,
        uint256 energyWh,
        int256 limitMicroPerKwh,
        bytes32 termsHash
    ) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            mstore(add(hasher, 0x20), account)
            mstore(add(hasher, 0x80), side)
            mstore(add(hasher, 0xa0), energyWh)
            mstore(add(hasher, 0xc0), limitMicroPerKwh)
            mstore(add(hasher, 0xe0), termsHash)
            mstore(add(hasher, 0x140), keccak256(hasher, 0x100))
            hash := keccak256(add(hasher, 0x11e), 0x42)
        }
    }

    /// @dev The digest of a row's order: the same, straight from the calldata.
    function digest(OrderHasher hasher, OrderRow row) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            let head := calldataload(row)
            mstore(add(hasher, 0x20), shr(96, head))
            mstore(add(hasher, 0x80), byte(20, head))
            mstore(add(hasher, 0xa0), shr(208, calldataload(add(row, 29))))
            mstore(add(hasher, 0xc0), signextend(7, shr(24, head)))
            mstore(add(hasher, 0xe0), calldataload(add(row, 63)))
            mstore(add(hasher, 0x140), keccak256(hasher, 0x100))
            hash := keccak256(add(hasher, 0x11e), 0x42)
        }
    }
}
