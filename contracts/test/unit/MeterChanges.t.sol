// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {ISmartMeter} from "../../src/interfaces/ISmartMeter.sol";
import {Meters} from "../base/Meters.sol";
import {VM} from "../base/Vm.sol";

/// @title MeterChangesTest: another key, new registers, and the end by a contradiction
contract MeterChangesTest is Meters {
    uint256 private constant NEXT = METER + 7;

    uint256 private deviceId;
    uint256 private nextId;

    function setUp() public override {
        super.setUp();
        deviceId = register(METER, ALICE);
        nextId = deviceOf(NEXT);
    }

    /* ROTATION */

    function testRotates() external {
        (uint256 x, uint256 y) = VM.publicKeyP256(NEXT);
        VM.expectEmit(address(registry));
        emit ISmartMeter.MeterRotated(deviceId, nextId, alice, bytes32(x), bytes32(y));
        rotate(METER, NEXT, ALICE);
        ISmartMeter.Meter memory meter = registry.meterOf(nextId);
        VM.assertEq(meter.account, alice, "account");
        VM.assertEq(uint256(meter.importLimitW), IMPORT_LIMIT_W, "import limit");
        VM.assertEq(uint256(meter.exportLimitW), EXPORT_LIMIT_W, "export limit");
        VM.assertFalse(meter.revoked || meter.suspended, "counts");
        VM.assertTrue(registry.meterOf(deviceId).revoked, "the old key no longer");
        VM.assertFalse(registry.meterOf(deviceId).suspended, "but not for a contradiction");
        VM.assertEq(registry.successorOf(deviceId), nextId, "successor");
        VM.assertEq(registry.successorOf(nextId), 0, "no further one");
        VM.assertEq(registry.originOf(nextId), deviceId, "origin");
        VM.assertEq(registry.originOf(deviceId), deviceId, "its own origin");
        VM.assertEq(registry.deviceOf(alice), nextId, "device");
        VM.assertEq(registry.meterCountOf(alice), 1, "the same meter");
        (bytes32 keyX, bytes32 keyY) = registry.keyOf(nextId);
        VM.assertTrue(keyX == bytes32(x) && keyY == bytes32(y), "key");
    }

    function testRotatedMeterCarriesRegistersOver() external {
        uint256 time = block.timestamp - 900;
        uint256 reading = packReading(time, 41, 1000, 2000);
        bytes memory signature = signReading(METER, reading);
        registry.submitReading(deviceId, reading, signature);
        rotate(METER, NEXT, ALICE);
        ISmartMeter.MeterReading memory last = registry.lastReading(nextId);
        VM.assertEq(last.timestamp, time, "time");
        VM.assertEq(last.consumption, 1000, "consumption");
        VM.assertEq(last.production, 2000, "production");
        VM.assertEq(last.signature, keccak256(signature), "signature");
        VM.assertEq(registry.lastSequence(nextId), 0, "counts anew");
        _refuses(
            packReading(time + 900, 1, 999, 2000),
            abi.encodeWithSelector(ISmartMeter.ReadingRegisterFell.selector, nextId, 999, 1000)
        );
        _refuses(
            packReading(time + 900, 1, 1000, 2000 + 2501),
            abi.encodeWithSelector(
                ISmartMeter.ReadingAbovePowerLimit.selector, nextId, 2501, EXPORT_LIMIT_W
            )
        );
        _refuses(
            packReading(time, 1, 1000, 2000),
            abi.encodeWithSelector(ISmartMeter.ReadingTimeNotRising.selector, nextId, time, time)
        );
        read(NEXT, time + 900, 1, 2000 + 2500, 1000);
    }

    function testRotatedKeyReadsNoMore() external {
        rotate(METER, NEXT, ALICE);
        uint256 reading = packReading(block.timestamp, 1, 0, 0);
        bytes memory signature = signReading(METER, reading);
        VM.expectRevert(abi.encodeWithSelector(ISmartMeter.MeterIsRevoked.selector, deviceId));
        registry.submitReading(deviceId, reading, signature);
        VM.assertFalse(registry.verifyReading(deviceId, reading, signature), "does not count");
        VM.assertTrue(registry.isSigned(deviceId, reading, signature), "but was signed");
    }

    function testRotatesAgainAndKeepsTheOrigin() external {
        rotate(METER, NEXT, ALICE);
        rotate(NEXT, NEXT + 1, ALICE);
        VM.assertEq(registry.originOf(deviceOf(NEXT + 1)), deviceId, "the first of all");
        VM.assertEq(registry.meterCountOf(alice), 1, "still one meter");
    }

    function testASuspendedMeterCanGetAnotherKey() external {
        suspend(deviceId);
        rotate(METER, NEXT, ALICE);
        VM.assertEq(registry.deviceOf(alice), nextId, "reads again");
        VM.assertTrue(registry.meterOf(deviceId).suspended, "the old key stays suspended");
        VM.assertFalse(registry.meterOf(nextId).suspended, "the new one is not");
    }

    function testOnlyTheOperatorRotates() external {
        bytes memory proof = rotationProof(deviceId, NEXT, ALICE);
        VM.expectRevert(abi.encodeWithSignature("AccessManagedUnauthorized(address)", alice));
        VM.prank(alice);
        registry.rotateMeter(deviceId, nextId, proof);
    }

    function testRotationNeedsTheNewKeyAndTheAccount() external {
        bytes32 digest = rotationDigest(deviceId, nextId, alice);
        bytes memory meter = meterSigns(NEXT, digest);
        bytes memory account = accountSigns(ALICE, digest);
        bytes memory why =
            abi.encodeWithSelector(ISmartMeter.MeterSignatureInvalid.selector, nextId);
        _refusesRotation(rotationProof(NEXT, meterSigns(METER, digest), account), why);
        _refusesRotation(rotationProof(NEXT, "", account), why);
        why = abi.encodeWithSelector(ISmartMeter.AccountSignatureInvalid.selector, alice);
        _refusesRotation(rotationProof(NEXT, meter, accountSigns(BOB, digest)), why);
        _refusesRotation(rotationProof(NEXT, meter, ""), why);
    }

    function testRotationRefusals() external {
        bytes memory proof = rotationProof(deviceId, NEXT, ALICE);
        VM.startPrank(operator);
        VM.expectRevert(abi.encodeWithSelector(ISmartMeter.MeterUnknown.selector, 7));
        registry.rotateMeter(7, nextId, proof);
        VM.expectRevert(abi.encodeWithSelector(ISmartMeter.MeterIdInvalid.selector, 7, nextId));
        registry.rotateMeter(deviceId, 7, proof);
        VM.stopPrank();
        register(NEXT, ALICE);
        _refusesRotation(
            proof, abi.encodeWithSelector(ISmartMeter.MeterAlreadyRegistered.selector, nextId)
        );
    }

    function testARevokedOrRotatedMeterIsNotRotated() external {
        rotate(METER, NEXT, ALICE);
        bytes memory why = abi.encodeWithSelector(ISmartMeter.MeterIsRevoked.selector, deviceId);
        uint256 other = deviceOf(NEXT + 1);
        bytes memory proof = rotationProof(deviceId, NEXT + 1, ALICE);
        VM.startPrank(operator);
        VM.expectRevert(why);
        registry.rotateMeter(deviceId, other, proof);
        VM.stopPrank();
        suspend(deviceId);
        VM.startPrank(operator);
        VM.expectRevert(why);
        registry.rotateMeter(deviceId, other, proof);
        registry.revokeMeter(nextId);
        VM.expectRevert(abi.encodeWithSelector(ISmartMeter.MeterIsRevoked.selector, nextId));
        registry.rotateMeter(nextId, other, proof);
    }

    /* RESET */

    function testResets() external {
        uint256 time = block.timestamp - 900;
        _submit(packReading(time, 41, 1000, 2000));
        uint256 fresh = packReading(time + 1, 3, 10, 0);
        VM.expectEmit(address(registry));
        emit ISmartMeter.MeterReset(deviceId, alice, time + 1, 1000, 2000, 10, 0);
        reset(METER, ALICE, fresh);
        ISmartMeter.MeterReading memory last = registry.lastReading(deviceId);
        VM.assertEq(last.timestamp, time + 1, "time");
        VM.assertEq(last.consumption, 10, "consumption");
        VM.assertEq(last.production, 0, "production");
        VM.assertEq(registry.lastSequence(deviceId), 3, "sequence");
        _submit(packReading(time + 900, 4, 11, 1));
    }

    function testReadingsAfterAResetKeepToThePowerLimits() external {
        uint256 time = block.timestamp - 900;
        _submit(packReading(time - 1, 1, 0, 9000));
        reset(METER, ALICE, packReading(time, 2, 0, 0));
        uint256 reading = packReading(time + 900, 3, 0, 2501);
        bytes memory signature = signReading(METER, reading);
        VM.expectRevert(
            abi.encodeWithSelector(
                ISmartMeter.ReadingAbovePowerLimit.selector, deviceId, 2501, EXPORT_LIMIT_W
            )
        );
        registry.submitReading(deviceId, reading, signature);
    }

    function testResetLiftsNoRegister() external {
        uint256 time = block.timestamp - 900;
        _submit(packReading(time, 1, 1000, 2000));
        _refusesReset(
            packReading(time + 1, 2, 1001, 0),
            abi.encodeWithSelector(ISmartMeter.ResetNotBack.selector, deviceId, 1001, 1000)
        );
        _refusesReset(
            packReading(time + 1, 2, 0, 2001),
            abi.encodeWithSelector(ISmartMeter.ResetNotBack.selector, deviceId, 2001, 2000)
        );
        reset(METER, ALICE, packReading(time + 1, 2, 1000, 2000));
    }

    function testResetTimeRisesAndIsRecent() external {
        uint256 now_ = block.timestamp;
        _refusesReset(
            packReading(now_ - 7 days - 1, 1, 0, 0),
            abi.encodeWithSelector(
                ISmartMeter.ResetTooOld.selector, deviceId, now_ - 7 days - 1, now_ - 7 days
            )
        );
        _refusesReset(
            packReading(now_ + 121, 1, 0, 0),
            abi.encodeWithSelector(
                ISmartMeter.ReadingInFuture.selector, deviceId, now_ + 121, now_ + 120
            )
        );
        reset(METER, ALICE, packReading(now_ - 7 days, 1, 5, 5));
        _refusesReset(
            packReading(now_ - 7 days, 1, 0, 0),
            abi.encodeWithSelector(
                ISmartMeter.ReadingTimeNotRising.selector, deviceId, now_ - 7 days, now_ - 7 days
            )
        );
    }

    function testOnlyTheOperatorResets() external {
        uint256 fresh = packReading(block.timestamp, 1, 0, 0);
        bytes memory proof = resetProof(METER, ALICE, fresh);
        VM.expectRevert(abi.encodeWithSignature("AccessManagedUnauthorized(address)", alice));
        VM.prank(alice);
        registry.resetMeter(deviceId, fresh, proof);
    }

    function testResetNeedsTheMeterAndTheAccount() external {
        uint256 fresh = packReading(block.timestamp, 1, 0, 0);
        bytes32 digest = resetDigest(deviceId, alice, fresh);
        bytes memory proof = abi.encode(meterSigns(NEXT, digest), accountSigns(ALICE, digest));
        VM.startPrank(operator);
        VM.expectRevert(
            abi.encodeWithSelector(ISmartMeter.MeterSignatureInvalid.selector, deviceId)
        );
        registry.resetMeter(deviceId, fresh, proof);
        proof = abi.encode(meterSigns(METER, digest), accountSigns(BOB, digest));
        VM.expectRevert(abi.encodeWithSelector(ISmartMeter.AccountSignatureInvalid.selector, alice));
        registry.resetMeter(deviceId, fresh, proof);
    }

    function testResetRefusals() external {
        uint256 fresh = packReading(block.timestamp, 1, 0, 0);
        bytes memory proof = resetProof(METER, ALICE, fresh);
        VM.startPrank(operator);
        VM.expectRevert(abi.encodeWithSelector(ISmartMeter.MeterUnknown.selector, 7));
        registry.resetMeter(7, fresh, proof);
        VM.expectRevert(abi.encodeWithSelector(ISmartMeter.ReadingMalformed.selector, fresh | 1));
        registry.resetMeter(deviceId, fresh | 1, proof);
        registry.revokeMeter(deviceId);
        VM.expectRevert(abi.encodeWithSelector(ISmartMeter.MeterIsRevoked.selector, deviceId));
        registry.resetMeter(deviceId, fresh, proof);
    }

    function testEpochsFollowTheMeterThroughItsKeys() external {
        uint256 time = block.timestamp - 900;
        VM.assertEq(registry.epochOf(deviceId, time), 0, "none yet");
        reset(METER, ALICE, packReading(time, 1, 5, 5));
        rotate(METER, NEXT, ALICE);
        reset(NEXT, ALICE, packReading(time + 100, 1, 0, 0));
        for (uint256 i; i < 2; ++i) {
            uint256 device = i == 0 ? deviceId : nextId;
            VM.assertEq(registry.epochOf(device, time - 1), 0, "before");
            VM.assertEq(registry.epochOf(device, time), 1, "from the first reset on");
            VM.assertEq(registry.epochOf(device, time + 99), 1, "until the second");
            VM.assertEq(registry.epochOf(device, time + 100), 2, "from the second on");
        }
    }

    /* SUSPENSION */

    function testSuspends() external {
        VM.expectEmit(address(registry));
        emit ISmartMeter.MeterSuspended(deviceId, alice);
        suspend(deviceId);
        ISmartMeter.Meter memory meter = registry.meterOf(deviceId);
        VM.assertTrue(meter.revoked && meter.suspended, "suspended, so revoked");
        VM.assertEq(registry.deviceOf(alice), 0, "no device");
        uint256 reading = packReading(block.timestamp, 1, 0, 0);
        bytes memory signature = signReading(METER, reading);
        VM.assertFalse(registry.verifyReading(deviceId, reading, signature), "does not count");
        VM.assertTrue(registry.isSigned(deviceId, reading, signature), "but was signed");
        VM.expectRevert(abi.encodeWithSelector(ISmartMeter.MeterIsRevoked.selector, deviceId));
        registry.submitReading(deviceId, reading, signature);
        VM.prank(address(disputes));
        VM.expectRevert(abi.encodeWithSelector(ISmartMeter.MeterIsSuspended.selector, deviceId));
        registry.suspendMeter(deviceId);
    }

    function testARevokedMeterCanBeSuspended() external {
        VM.prank(alice);
        registry.revokeMeter(deviceId);
        suspend(deviceId);
        VM.assertTrue(registry.meterOf(deviceId).suspended, "revocation is no refuge");
    }

    function testOnlyDisputesSuspend() external {
        VM.prank(address(disputes));
        VM.expectRevert(abi.encodeWithSelector(ISmartMeter.MeterUnknown.selector, 7));
        registry.suspendMeter(7);
        address[2] memory others = [operator, alice];
        for (uint256 i; i < others.length; ++i) {
            VM.expectRevert(
                abi.encodeWithSignature("AccessManagedUnauthorized(address)", others[i])
            );
            VM.prank(others[i]);
            registry.suspendMeter(deviceId);
        }
    }

    function testIsSignedKnowsMeterAndForm() external view {
        uint256 reading = packReading(block.timestamp, 1, 7, 3);
        bytes memory signature = signReading(METER, reading);
        VM.assertTrue(registry.isSigned(deviceId, reading, signature), "signed");
        VM.assertFalse(registry.isSigned(nextId, reading, signature), "unknown meter");
        VM.assertFalse(registry.isSigned(deviceId, reading | 1, signature), "low bits");
        VM.assertFalse(registry.isSigned(deviceId, reading, ""), "no signature");
    }

    function testCountsMeters() external {
        VM.assertEq(registry.meterCountOf(alice), 1, "one");
        register(NEXT, ALICE);
        VM.prank(alice);
        registry.revokeMeter(nextId);
        VM.assertEq(registry.meterCountOf(alice), 2, "all that ever were");
        VM.assertEq(registry.meterCountOf(bob), 0, "none");
    }

    /* HELP */

    function read(uint256 key, uint256 time, uint256 sequence, uint256 production, uint256 used)
        private
    {
        uint256 reading = packReading(time, sequence, used, production);
        registry.submitReading(deviceOf(key), reading, signReading(key, reading));
    }

    function _submit(uint256 reading) private {
        registry.submitReading(deviceId, reading, signReading(METER, reading));
    }

    /// @dev A reading of the new key.
    function _refuses(uint256 reading, bytes memory why) private {
        bytes memory signature = signReading(NEXT, reading);
        VM.expectRevert(why);
        registry.submitReading(nextId, reading, signature);
    }

    function _refusesRotation(bytes memory proof, bytes memory why) private {
        VM.prank(operator);
        VM.expectRevert(why);
        registry.rotateMeter(deviceId, nextId, proof);
    }

    function _refusesReset(uint256 reading, bytes memory why) private {
        bytes memory proof = resetProof(METER, ALICE, reading);
        VM.prank(operator);
        VM.expectRevert(why);
        registry.resetMeter(deviceId, reading, proof);
    }
}
