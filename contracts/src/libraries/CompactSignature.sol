// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

/// @title CompactSignature: secp256k1 signatures of 64 bytes, `r || vs` (EIP-2098)
library CompactSignature {
    uint256 private constant _HALF_ORDER =
        0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;

    /// @dev The address that signed, as a number; zero for an invalid signature and for a high `s`, the
    /// twin of a valid one.
    function recover(bytes32 digest, bytes32 r, bytes32 vs) internal view returns (uint256 signer) {
        uint256 halfOrder = _HALF_ORDER;
        assembly ("memory-safe") {
            let s := shr(1, shl(1, vs))
            let input := mload(0x40)
            mstore(input, digest)
            mstore(add(input, 0x20), add(27, shr(255, vs)))
            mstore(add(input, 0x40), r)
            mstore(add(input, 0x60), s)
            mstore(0, 0) // stays when the precompile recovers nothing
            pop(staticcall(gas(), 1, input, 0x80, 0, 0x20))
            signer := mul(mload(0), iszero(gt(s, halfOrder)))
        }
    }

    /// @dev Tell whether `signer`, which is never the zero address, signed.
    function isBy(address signer, bytes32 digest, bytes32 r, bytes32 vs)
        internal
        view
        returns (bool)
    {
        return signer != address(0) && recover(digest, r, vs) == uint160(signer);
    }
}
