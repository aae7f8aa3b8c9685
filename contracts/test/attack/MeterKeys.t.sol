// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";

import {ISmartMeter} from "../../src/interfaces/ISmartMeter.sol";
import {Meters} from "../base/Meters.sol";
import {VM} from "../base/Vm.sol";

/// @dev A contract wallet whose signature is its address and the hash: 64 bytes, but no ECDSA.
contract Wallet is IERC1271 {
    bool public signs = true;

    function set(bool on) external {
        signs = on;
    }

    function isValidSignature(bytes32 hash, bytes calldata signature)
        external
        view
        returns (bytes4)
    {
        bool mine = keccak256(signature) == keccak256(abi.encode(this, hash));
        return signs && mine ? IERC1271.isValidSignature.selector : bytes4(0);
    }
}

/// @title MeterKeyAttacks: keys and signatures of both curves that must not pass
contract MeterKeyAttacks is Meters {
    uint256 private constant P256_ORDER =
        0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551;
    uint256 private constant P256_PRIME =
        0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF;
    uint256 private constant SECP_ORDER =
        0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;
    uint256 private constant SECP_METER = 0x5EC9;

    /* P-256 */

    function testP256SignaturesOutOfRange() external {
        _p256SignaturesOutOfRange();
        VM.setEvmVersion("prague");
        _p256SignaturesOutOfRange();
    }

    function testP256PointsThatAreNone() external {
        _p256PointsThatAreNone();
        VM.setEvmVersion("prague");
        _p256PointsThatAreNone();
    }

    /* SECP256K1 */

    function testSecp256k1MeterRegistersAndReads() external {
        uint256 deviceId = _registerSecp();
        VM.assertEq(
            address(uint160(deviceId)), VM.addr(SECP_METER), "the id ends in the key's address"
        );
        uint256 reading = packReading(block.timestamp, 1, 70, 30);
        bytes memory signature = signSecpReading(SECP_METER, deviceId, reading);
        VM.assertTrue(registry.verifyReading(deviceId, reading, signature), "signed");
        registry.submitReading(deviceId, reading, signature);
        VM.assertEq(registry.lastReading(deviceId).production, 30, "read");
        VM.setEvmVersion("prague");
        VM.assertTrue(registry.verifyReading(deviceId, reading, signature), "on Prague too");
    }

    function testSecp256k1TwinForeignAndZero() external {
        uint256 deviceId = _registerSecp();
        uint256 reading = packReading(block.timestamp, 1, 70, 30);
        bytes memory good = signSecpReading(SECP_METER, deviceId, reading);
        (bytes32 r, bytes32 vs,,) = abi.decode(good, (bytes32, bytes32, bytes32, bytes32));
        uint256 s = uint256(vs) & uint256(type(int256).max);
        bytes32 parity = bytes32(uint256(vs) ^ s);
        _refusesSecp(deviceId, reading, r, vs ^ bytes32(uint256(1) << 255), "other parity");
        _refusesSecp(deviceId, reading, r, bytes32(SECP_ORDER - s), "twin with high s");
        _refusesSecp(deviceId, reading, 0, vs, "r zero");
        _refusesSecp(deviceId, reading, r, parity, "s zero");
        _refusesSecp(deviceId, reading, 0, 0, "nothing");
        _refusesSecp(deviceId, reading, bytes32(SECP_ORDER), vs, "r the order");
        bytes memory foreign = signSecpReading(SECP_METER + 1, deviceId, reading);
        VM.assertFalse(registry.verifyReading(deviceId, reading, foreign), "another key");
        VM.assertFalse(registry.verifyReading(deviceId, reading + (1 << 48), good), "other content");
    }

    function testSecp256k1PossessionIsProven() external {
        (uint256 x, uint256 y) = pointOf(SECP_METER);
        uint256 deviceId = secpDeviceOf(SECP_METER);
        _refusesKey(secpProof(x, y, ALICE, _signsForeign), deviceId);
        _refusesKey(secpProof(x, y, ALICE, _signsNothing), deviceId);
        _refusesKey(secpProof(x, y, ALICE, _signsLong), deviceId);
    }

    function testAPointOfNeitherCurveSignsNothing() external {
        // The recovery gives the signer's address; the point's own address has no key.
        (uint256 x, uint256 y) = pointOf(SECP_METER);
        _refusesKey(secpProof(x, y + 1, ALICE, _signsSecp), _id(x, y + 1));
        _refusesKey(secpProof(x, 0, ALICE, _signsSecp), _id(x, 0));
        _refusesKey(secpProof(0, 0, ALICE, _signsSecp), _id(0, 0));
    }

    function testKeysDoNotPassOnTheOtherCurve() external {
        // A P-256 key registered with a secp256k1 signature of the same secret, and the reverse.
        (uint256 x, uint256 y) = VM.publicKeyP256(SECP_METER);
        _refusesKey(secpProof(x, y, ALICE, _signsSecp), _id(x, y));
        (x, y) = pointOf(SECP_METER);
        _refusesKey(secpProof(x, y, ALICE, _signsP256), _id(x, y));
    }

    /* ACCOUNTS */

    function testAContractWalletConsents() external {
        Wallet wallet = new Wallet();
        bytes32 digest = registrationDigest(METER, address(wallet));
        bytes memory proof =
            proofOf(METER, address(wallet), meterSigns(METER, digest), abi.encode(wallet, digest));
        bytes memory other = proofOf(
            METER, address(wallet), meterSigns(METER, digest), abi.encode(wallet, digest, digest)
        );
        uint256 deviceId = deviceOf(METER);
        bytes memory why =
            abi.encodeWithSelector(ISmartMeter.AccountSignatureInvalid.selector, address(wallet));
        _refuses(deviceId, other, why);
        wallet.set(false);
        _refuses(deviceId, proof, why);
        wallet.set(true);
        VM.prank(operator);
        registry.registerMeter(deviceId, proof);
        VM.assertEq(registry.deviceOf(address(wallet)), deviceId, "64 bytes, but the wallet's own");
    }

    function testAnAccountWithCodeStillSignsWithItsKey() external {
        VM.etch(alice, address(new Wallet()).code); // as EIP-7702 lets a key's account have code
        uint256 deviceId = register(METER, ALICE);
        VM.assertEq(registry.deviceOf(alice), deviceId, "its key signed");
    }

    /* HELP */

    function _p256SignaturesOutOfRange() private {
        uint256 deviceId = deviceOf(METER);
        if (registry.meterOf(deviceId).account == address(0)) register(METER, ALICE);
        uint256 reading = packReading(block.timestamp, 1, 10, 10);
        bytes memory good = signReading(METER, reading);
        (bytes32 r, bytes32 s,,) = abi.decode(good, (bytes32, bytes32, bytes32, bytes32));
        VM.assertTrue(registry.verifyReading(deviceId, reading, good), "signed");
        _refusesP256(reading, r, bytes32(P256_ORDER - uint256(s)), "twin");
        _refusesP256(reading, 0, s, "r zero");
        _refusesP256(reading, r, 0, "s zero");
        _refusesP256(reading, 0, 0, "nothing");
        _refusesP256(reading, bytes32(P256_ORDER), s, "r the order");
        _refusesP256(reading, r, bytes32(P256_ORDER), "s the order");
        _refusesP256(reading, bytes32(type(uint256).max), s, "r the largest");
    }

    function _refusesP256(uint256 reading, bytes32 r, bytes32 s, string memory why) private view {
        bytes memory signature = bytes.concat(r, s, bytes32(0), bytes32(0));
        VM.assertFalse(registry.verifyReading(deviceOf(METER), reading, signature), why);
    }

    /// @dev Off the curve, the point at infinity as zeros, coordinates beyond the prime.
    function _p256PointsThatAreNone() private {
        (uint256 x, uint256 y) = VM.publicKeyP256(METER);
        uint256[2][4] memory points =
            [[x, y ^ 1], [uint256(0), uint256(0)], [x, P256_PRIME], [P256_PRIME, y]];
        for (uint256 i; i < points.length; ++i) {
            (uint256 px, uint256 py) = (points[i][0], points[i][1]);
            _refusesKey(secpProof(px, py, ALICE, _signsP256), _id(px, py));
        }
    }

    function _registerSecp() private returns (uint256 deviceId) {
        (uint256 x, uint256 y) = pointOf(SECP_METER);
        deviceId = _id(x, y);
        bytes memory proof = secpProof(x, y, ALICE, _signsSecp);
        VM.prank(operator);
        registry.registerMeter(deviceId, proof);
    }

    function _refusesSecp(
        uint256 deviceId,
        uint256 reading,
        bytes32 r,
        bytes32 vs,
        string memory why
    ) private view {
        bytes memory signature = bytes.concat(r, vs, bytes32(0), bytes32(0));
        VM.assertFalse(registry.verifyReading(deviceId, reading, signature), why);
    }

    function _refusesKey(bytes memory proof, uint256 deviceId) private {
        bytes memory why =
            abi.encodeWithSelector(ISmartMeter.MeterSignatureInvalid.selector, deviceId);
        _refuses(deviceId, proof, why);
    }

    function _refuses(uint256 deviceId, bytes memory proof, bytes memory why) private {
        VM.prank(operator);
        VM.expectRevert(why);
        registry.registerMeter(deviceId, proof);
    }

    function _id(uint256 x, uint256 y) private pure returns (uint256) {
        return uint256(keccak256(abi.encode(x, y)));
    }

    function _signsSecp(bytes32 digest) private pure returns (bytes memory) {
        return accountSigns(SECP_METER, digest);
    }

    function _signsForeign(bytes32 digest) private pure returns (bytes memory) {
        return accountSigns(SECP_METER + 1, digest);
    }

    function _signsNothing(bytes32) private pure returns (bytes memory) {
        return new bytes(64);
    }

    function _signsLong(bytes32 digest) private pure returns (bytes memory) {
        return bytes.concat(accountSigns(SECP_METER, digest), hex"00");
    }

    function _signsP256(bytes32 digest) private pure returns (bytes memory) {
        return meterSigns(SECP_METER, digest);
    }
}
