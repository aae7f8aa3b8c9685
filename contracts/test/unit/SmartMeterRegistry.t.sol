// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {ISmartMeter} from "../../src/interfaces/ISmartMeter.sol";
import {Batches} from "../base/Batches.sol";
import {Community} from "../base/Community.sol";
import {VM} from "../base/Vm.sol";

/// @title SmartMeterRegistryTest: registration, revocation, and what a reading must be
contract SmartMeterRegistryTest is Community {
    uint256 private constant P256_ORDER =
        0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551;

    /* REGISTRATION */

    function testRegisters() external {
        (uint256 x, uint256 y) = VM.publicKeyP256(METER);
        VM.expectEmit(address(registry));
        emit ISmartMeter.MeterRegistered(
            deviceOf(METER), alice, bytes32(x), bytes32(y), IMPORT_LIMIT_W, EXPORT_LIMIT_W
        );
        uint256 deviceId = register(METER, ALICE);
        ISmartMeter.Meter memory meter = registry.meterOf(deviceId);
        VM.assertEq(meter.account, alice, "account");
        VM.assertEq(uint256(meter.importLimitW), IMPORT_LIMIT_W, "import limit");
        VM.assertEq(uint256(meter.exportLimitW), EXPORT_LIMIT_W, "export limit");
        (bytes32 keyX, bytes32 keyY) = registry.keyOf(deviceId);
        VM.assertEq(keyX, bytes32(x), "x");
        VM.assertEq(keyY, bytes32(y), "y");
        VM.assertEq(registry.deviceOf(alice), deviceId, "device");
    }

    function testTakesAnAccountSignatureOf65Bytes() external {
        bytes32 digest = registrationDigest(METER, alice);
        (uint8 v, bytes32 r, bytes32 s) = VM.sign(ALICE, digest);
        _registers(proofOf(METER, alice, _meterSigns(digest), abi.encodePacked(r, s, v)));
    }

    function testOnlyTheOperatorRegisters() external {
        bytes memory proof = proofOf(METER, ALICE);
        VM.expectRevert(abi.encodeWithSignature("AccessManagedUnauthorized(address)", alice));
        VM.prank(alice);
        registry.registerMeter(deviceOf(METER), proof);
    }

    function testRefusesAMeterTwice() external {
        uint256 deviceId = register(METER, ALICE);
        _refusesRegistration(
            proofOf(METER, BOB),
            abi.encodeWithSelector(ISmartMeter.MeterAlreadyRegistered.selector, deviceId)
        );
    }

    function testRefusesAnotherDeviceId() external {
        bytes memory proof = proofOf(METER, ALICE);
        VM.prank(operator);
        VM.expectRevert(
            abi.encodeWithSelector(ISmartMeter.MeterIdInvalid.selector, 1, deviceOf(METER))
        );
        registry.registerMeter(1, proof);
    }

    function testRefusesAKeyOffTheCurve() external {
        bytes32 x = bytes32(uint256(1));
        uint256 deviceId = uint256(keccak256(abi.encode(x, x)));
        bytes memory proof = abi.encode(x, x, alice, 1, 1, new bytes(64), new bytes(64));
        VM.prank(operator);
        VM.expectRevert(
            abi.encodeWithSelector(ISmartMeter.MeterSignatureInvalid.selector, deviceId)
        );
        registry.registerMeter(deviceId, proof);
    }

    function testRefusesForeignAndMisshapenMeterSignatures() external {
        bytes32 digest = registrationDigest(METER, alice);
        bytes memory account = _accountSigns(ALICE, digest);
        (bytes32 r, bytes32 s) = VM.signP256(METER, digest);
        bytes memory why =
            abi.encodeWithSelector(ISmartMeter.MeterSignatureInvalid.selector, deviceOf(METER));
        bytes memory highS = bytes.concat(r, bytes32(P256_ORDER - uint256(lowS(s))));
        (bytes32 otherR, bytes32 otherS) = VM.signP256(METER + 1, digest);
        bytes memory foreign = bytes.concat(otherR, lowS(otherS));
        _refusesRegistration(proofOf(METER, alice, highS, account), why);
        _refusesRegistration(proofOf(METER, alice, foreign, account), why);
        _refusesRegistration(proofOf(METER, alice, "", account), why);
        _refusesRegistration(proofOf(METER, alice, bytes.concat(r, lowS(s), hex"00"), account), why);
    }

    function testRefusesForeignAndMisshapenAccountSignatures() external {
        bytes32 digest = registrationDigest(METER, alice);
        bytes memory why =
            abi.encodeWithSelector(ISmartMeter.AccountSignatureInvalid.selector, alice);
        bytes memory meter = _meterSigns(digest);
        _refusesRegistration(proofOf(METER, alice, meter, _accountSigns(BOB, digest)), why);
        _refusesRegistration(proofOf(METER, alice, meter, ""), why);
        _refusesRegistration(proofOf(METER, alice, meter, new bytes(64)), why);
        _refusesRegistration(proofOf(METER, alice, meter, new bytes(65)), why);
    }

    function testRefusesTheZeroAccount() external {
        bytes32 digest = registrationDigest(METER, address(0));
        _refusesRegistration(
            proofOf(METER, address(0), _meterSigns(digest), new bytes(64)),
            abi.encodeWithSelector(ISmartMeter.AccountSignatureInvalid.selector, address(0))
        );
    }

    function testRefusesAnotherLedgersSignature() external {
        bytes memory proof = proofOf(METER, ALICE);
        VM.chainId(block.chainid + 1);
        _refusesRegistration(
            proof,
            abi.encodeWithSelector(ISmartMeter.MeterSignatureInvalid.selector, deviceOf(METER))
        );
    }

    /* REVOCATION */

    function testOwnerAndOperatorRevoke() external {
        uint256 first = register(METER, ALICE);
        uint256 second = register(METER + 1, ALICE);
        VM.expectEmit(address(registry));
        emit ISmartMeter.MeterRevoked(first, alice);
        VM.prank(alice);
        registry.revokeMeter(first);
        VM.assertEq(registry.deviceOf(alice), second, "the other stays");
        VM.prank(operator);
        registry.revokeMeter(second);
        VM.assertEq(registry.deviceOf(alice), 0, "none left");
        VM.assertTrue(registry.meterOf(first).revoked, "revoked");
    }

    function testRevokeRefusals() external {
        VM.expectRevert(abi.encodeWithSelector(ISmartMeter.MeterUnknown.selector, 7));
        registry.revokeMeter(7);
        uint256 deviceId = register(METER, ALICE);
        VM.expectRevert(abi.encodeWithSignature("AccessManagedUnauthorized(address)", bob));
        VM.prank(bob);
        registry.revokeMeter(deviceId);
        VM.startPrank(alice);
        registry.revokeMeter(deviceId);
        VM.expectRevert(abi.encodeWithSelector(ISmartMeter.MeterIsRevoked.selector, deviceId));
        registry.revokeMeter(deviceId);
    }

    /* READINGS */

    function testSubmits() external {
        uint256 deviceId = register(METER, ALICE);
        uint256 reading = packReading(block.timestamp, 1, 70, 30) | uint256(5) << 32;
        bytes memory signature = signReading(METER, reading);
        VM.expectEmit(address(registry));
        emit ISmartMeter.ReadingSubmitted(deviceId, 1, block.timestamp, 70, 30, 5);
        VM.prank(bob); // anyone may
        VM.assertTrue(registry.submitReading(deviceId, reading, signature), "accepted");
        ISmartMeter.MeterReading memory last = registry.lastReading(deviceId);
        VM.assertEq(last.deviceId, deviceId, "device");
        VM.assertEq(last.timestamp, block.timestamp, "time");
        VM.assertEq(last.consumption, 70, "consumption");
        VM.assertEq(last.production, 30, "production");
        VM.assertEq(last.signature, keccak256(signature), "signature");
        VM.assertEq(registry.lastSequence(deviceId), 1, "sequence");
    }

    function testVerifies() external {
        uint256 deviceId = register(METER, ALICE);
        uint256 reading = packReading(block.timestamp, 1, 70, 30);
        bytes memory signature = signReading(METER, reading);
        VM.assertTrue(registry.verifyReading(deviceId, reading, signature), "signed");
        VM.assertFalse(registry.verifyReading(deviceId + 1, reading, signature), "unknown meter");
        VM.assertFalse(registry.verifyReading(deviceId, reading + (1 << 48), signature), "altered");
        VM.assertFalse(registry.verifyReading(deviceId, reading | 1, signature), "low bits");
        VM.assertFalse(registry.verifyReading(deviceId, reading, ""), "no signature");
        signature[127] = 0x01;
        VM.assertFalse(registry.verifyReading(deviceId, reading, signature), "other samples");
        signature[127] = 0x00;
        VM.prank(alice);
        registry.revokeMeter(deviceId);
        VM.assertFalse(registry.verifyReading(deviceId, reading, signature), "revoked");
    }

    function testGapsAreAllowed() external {
        register(METER, ALICE);
        read(METER, block.timestamp - 900, 1, 0);
        read(METER, block.timestamp, 9, 100);
        VM.assertEq(registry.lastSequence(deviceOf(METER)), 9, "what lay between is elsewhere");
    }

    function testFirstRegistersMayStandAnywhere() external {
        register(METER, ALICE);
        read(METER, block.timestamp, 41, type(uint64).max);
    }

    function testSubmitRefusals() external {
        uint256 deviceId = deviceOf(METER);
        uint256 reading = packReading(block.timestamp, 5, 1000, 1000);
        bytes memory signature = signReading(METER, reading);
        bytes memory foreign = signReading(METER + 1, reading);
        VM.expectRevert(abi.encodeWithSelector(ISmartMeter.MeterUnknown.selector, deviceId));
        registry.submitReading(deviceId, reading, signature);
        register(METER, ALICE);
        VM.expectRevert(abi.encodeWithSelector(ISmartMeter.ReadingMalformed.selector, reading | 1));
        registry.submitReading(deviceId, reading | 1, signature);
        VM.expectRevert(
            abi.encodeWithSelector(ISmartMeter.ReadingSignatureInvalid.selector, deviceId)
        );
        registry.submitReading(deviceId, reading, foreign);
        VM.prank(alice);
        registry.revokeMeter(deviceId);
        VM.expectRevert(abi.encodeWithSelector(ISmartMeter.MeterIsRevoked.selector, deviceId));
        registry.submitReading(deviceId, reading, signature);
    }

    function testSequenceTimeAndRegistersOnlyRise() external {
        uint256 deviceId = register(METER, ALICE);
        uint256 time = block.timestamp - 900;
        uint256 first = packReading(time, 5, 1000, 1000);
        registry.submitReading(deviceId, first, signReading(METER, first));
        _refusesReading(
            first,
            abi.encodeWithSelector(ISmartMeter.ReadingSequenceNotRising.selector, deviceId, 5, 5)
        );
        _refusesReading(
            packReading(time, 6, 1000, 1000),
            abi.encodeWithSelector(ISmartMeter.ReadingTimeNotRising.selector, deviceId, time, time)
        );
        _refusesReading(
            packReading(time + 1, 6, 999, 1000),
            abi.encodeWithSelector(ISmartMeter.ReadingRegisterFell.selector, deviceId, 999, 1000)
        );
        _refusesReading(
            packReading(time + 1, 6, 1000, 999),
            abi.encodeWithSelector(ISmartMeter.ReadingRegisterFell.selector, deviceId, 999, 1000)
        );
    }

    function testRefusesTheFuture() external {
        uint256 deviceId = register(METER, ALICE);
        uint256 latest = block.timestamp + 120;
        _refusesReading(
            packReading(latest + 1, 1, 0, 0),
            abi.encodeWithSelector(
                ISmartMeter.ReadingInFuture.selector, deviceId, latest + 1, latest
            )
        );
        read(METER, latest, 1, 0);
    }

    function testRefusesMoreThanThePowerLimits() external {
        uint256 deviceId = register(METER, ALICE);
        uint256 time = block.timestamp - 900;
        uint256 first = packReading(time, 1, 0, 0);
        registry.submitReading(deviceId, first, signReading(METER, first));
        // 15 minutes at 20 kW are 5000 Wh, at 10 kW 2500; whole Wh may show almost 1 Wh more.
        _refusesReading(
            packReading(time + 900, 2, 5001, 2500),
            abi.encodeWithSelector(
                ISmartMeter.ReadingAbovePowerLimit.selector, deviceId, 5001, IMPORT_LIMIT_W
            )
        );
        _refusesReading(
            packReading(time + 900, 2, 5000, 2501),
            abi.encodeWithSelector(
                ISmartMeter.ReadingAbovePowerLimit.selector, deviceId, 2501, EXPORT_LIMIT_W
            )
        );
        uint256 most = packReading(time + 900, 2, 5000, 2500);
        registry.submitReading(deviceId, most, signReading(METER, most));
    }

    /* HELP */

    function _registers(bytes memory proof) private {
        VM.prank(operator);
        VM.assertTrue(registry.registerMeter(deviceOf(METER), proof), "registered");
    }

    function _refusesRegistration(bytes memory proof, bytes memory why) private {
        VM.prank(operator);
        VM.expectRevert(why);
        registry.registerMeter(deviceOf(METER), proof);
    }

    function _refusesReading(uint256 reading, bytes memory why) private {
        bytes memory signature = signReading(METER, reading);
        VM.expectRevert(why);
        registry.submitReading(deviceOf(METER), reading, signature);
    }

    function _meterSigns(bytes32 digest) private pure returns (bytes memory) {
        (bytes32 r, bytes32 s) = VM.signP256(METER, digest);
        return bytes.concat(r, lowS(s));
    }

    function _accountSigns(uint256 key, bytes32 digest) private pure returns (bytes memory) {
        (bytes32 r, bytes32 vs) = Batches.compact(key, digest);
        return bytes.concat(r, vs);
    }
}
