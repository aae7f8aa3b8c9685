// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";

import {PackedReading} from "../types/PackedReading.sol";

/// @title ReadingHash: what a meter signs for a reading, and the reading's leaf in a batch's tree
library ReadingHash {
    bytes32 private constant _TYPE_HASH = keccak256(
        "Reading(uint256 deviceId,uint64 sequence,uint64 timestamp,uint64 consumptionWh,"
        "uint64 productionWh,uint16 flags,bytes32 previous,bytes32 samples)"
    );
    bytes32 private constant _LEAF_TAG = keccak256("energy-trade/reading/2");

    /// @dev r, s, then the hashes of the reading before and of the samples.
    uint256 internal constant SIGNATURE_LENGTH = 128;

    /// @dev The EIP-712 digest of a reading in a ledger's domain; the caller has checked the length of
    /// `signature`, of which only the hashes behind r and s count here.
    function digest(
        bytes32 domain,
        uint256 deviceId,
        PackedReading reading,
        bytes calldata signature
    ) internal pure returns (bytes32) {
        bytes32 structHash = keccak256(
            abi.encode(
                _TYPE_HASH,
                deviceId,
                reading.sequence(),
                reading.timestamp(),
                reading.consumptionWh(),
                reading.productionWh(),
                reading.flags(),
                bytes32(signature[64:96]),
                bytes32(signature[96:128])
            )
        );
        return MessageHashUtils.toTypedDataHash(domain, structHash);
    }

    /// @dev Hashed twice behind its tag, so that no inner node of a tree passes for a leaf. Holds the
    /// meter's signature too, so that who makes a tree has to say how a reading is signed.
    function leaf(bytes32 readingDigest, bytes32 r, bytes32 s) internal pure returns (bytes32) {
        bytes32 tagged = keccak256(abi.encode(_LEAF_TAG, readingDigest, r, s));
        return keccak256(abi.encode(tagged));
    }
}
