// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

/// @dev A certificate that is its own id, from the high bits: device id's upper 120, interval start
/// 40 (UTC s), duration 16 (s), source 8, serial within the interval 16, storage flag 8, energy 48 (Wh).
type Certificate is uint256;

using CertificateLibrary for Certificate global;

/// @title CertificateLibrary: packing and unpacking of a certificate's id
library CertificateLibrary {
    function pack(
        uint256 deviceId,
        uint256 startsAt,
        uint256 lastsS,
        uint8 sourceType,
        uint256 number,
        bool fromStorage,
        uint256 wh
    ) internal pure returns (Certificate) {
        uint256 id = deviceId >> 136 << 40 | uint40(startsAt);
        id = id << 16 | uint16(lastsS);
        id = id << 8 | sourceType;
        id = id << 16 | uint16(number);
        id = id << 8 | (fromStorage ? 1 : 0);
        return Certificate.wrap(id << 48 | uint48(wh));
    }

    /// @dev The upper 120 bits of the device id, which name the device.
    function device(Certificate id) internal pure returns (uint256) {
        return Certificate.unwrap(id) >> 136;
    }

    function intervalStart(Certificate id) internal pure returns (uint256) {
        return uint40(Certificate.unwrap(id) >> 96);
    }

    function durationS(Certificate id) internal pure returns (uint256) {
        return uint16(Certificate.unwrap(id) >> 80);
    }

    function source(Certificate id) internal pure returns (uint8) {
        return uint8(Certificate.unwrap(id) >> 72);
    }

    function serial(Certificate id) internal pure returns (uint256) {
        return uint16(Certificate.unwrap(id) >> 56);
    }

    function isStored(Certificate id) internal pure returns (bool) {
        return uint8(Certificate.unwrap(id) >> 48) == 1;
    }

    function energyWh(Certificate id) internal pure returns (uint256) {
        return uint48(Certificate.unwrap(id));
    }
}
