// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {P256} from "@openzeppelin/contracts/utils/cryptography/P256.sol";

import {CompactSignature} from "./CompactSignature.sol";

/// @title MeterKey: meters' public keys, on P-256 or secp256k1
/// @dev A key's curve is the one that its point lies on, so that nobody has to say it and nobody can
/// say it wrongly. A point that is on neither signs nothing: in place of a P-256 check then stands the
/// recovery of the key's address, which needs a true key with that address.
library MeterKey {
    function deviceId(bytes32 x, bytes32 y) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode(x, y)));
    }

    /// @dev Tell whether the key signed. P-256: `s` in the lower half, by precompile or, where a chain
    /// has none, in Solidity. secp256k1: `s` with the parity in its top bit (EIP-2098).
    function isBy(bytes32 x, bytes32 y, bytes32 digest, bytes32 r, bytes32 s)
        internal
        view
        returns (bool)
    {
        if (P256.isValidPublicKey(x, y)) return P256.verify(digest, r, s, x, y);
        address keyAddress = address(uint160(deviceId(x, y)));
        return CompactSignature.isBy(keyAddress, digest, r, s);
    }
}
