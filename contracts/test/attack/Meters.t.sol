// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {ISmartMeter} from "../../src/interfaces/ISmartMeter.sol";
import {Meters} from "../base/Meters.sol";
import {VM} from "../base/Vm.sol";

/// @title MeterAttacks: signatures used for what they were not given, and chains without P-256
contract MeterAttacks is Meters {
    uint256 private constant P256_ORDER =
        0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551;

    /// @dev Osaka has the precompile of EIP-7951; Prague has none, and the registry computes itself.
    function testWithoutThePrecompile() external {
        _isVerifiedAndTwinRefused();
        VM.setEvmVersion("prague");
        (, bytes memory answer) = address(0x100).staticcall(new bytes(160));
        VM.assertEq(answer.length, 0, "no precompile here");
        _isVerifiedAndTwinRefused();
    }

    function testReadingReplay() external {
        register(METER, ALICE);
        uint256 reading = packReading(block.timestamp, 1, 10, 10);
        bytes memory signature = signReading(METER, reading);
        registry.submitReading(deviceOf(METER), reading, signature);
        VM.expectPartialRevert(ISmartMeter.ReadingSequenceNotRising.selector);
        registry.submitReading(deviceOf(METER), reading, signature);
    }

    function testReadingForAnotherMeter() external {
        register(METER, ALICE);
        register(METER + 1, BOB);
        uint256 reading = packReading(block.timestamp, 1, 10, 10);
        VM.assertFalse(
            registry.verifyReading(deviceOf(METER + 1), reading, signReading(METER, reading)),
            "signed by the other meter"
        );
    }

    function testReadingOfAnotherLedger() external {
        register(METER, ALICE);
        uint256 reading = packReading(block.timestamp, 1, 10, 10);
        bytes memory signature = signReading(METER, reading);
        VM.chainId(block.chainid + 1);
        VM.assertFalse(
            registry.verifyReading(deviceOf(METER), reading, signature), "another chain's"
        );
    }

    function testRegistrationCannotBeTakenOver() external {
        // Bob copies Alice's registration, as seen in the mempool, for his own account.
        bytes memory proof = proofOf(METER, ALICE);
        (bytes32 x, bytes32 y,,,, bytes memory meterSignature, bytes memory accountSignature) =
            abi.decode(proof, (bytes32, bytes32, address, uint32, uint32, bytes, bytes));
        bytes memory stolen =
            abi.encode(x, y, bob, IMPORT_LIMIT_W, EXPORT_LIMIT_W, meterSignature, accountSignature);
        uint256 deviceId = deviceOf(METER);
        VM.prank(operator);
        VM.expectRevert(
            abi.encodeWithSelector(ISmartMeter.MeterSignatureInvalid.selector, deviceId)
        );
        registry.registerMeter(deviceId, stolen);
    }

    function testRevokedMeterCannotComeBack() external {
        uint256 deviceId = register(METER, ALICE);
        VM.prank(alice);
        registry.revokeMeter(deviceId);
        bytes memory proof = proofOf(METER, ALICE);
        VM.prank(operator);
        VM.expectRevert(
            abi.encodeWithSelector(ISmartMeter.MeterAlreadyRegistered.selector, deviceId)
        );
        registry.registerMeter(deviceId, proof);
    }

    function testResetIsNotReplayed() external {
        register(METER, ALICE);
        uint256 fresh = packReading(block.timestamp - 900, 1, 0, 5);
        bytes memory proof = resetProof(METER, ALICE, fresh);
        _resets(METER, fresh, proof, 0);
        read(METER, block.timestamp - 800, 2, 100);
        _resets(METER, fresh, proof, ISmartMeter.ReadingTimeNotRising.selector);
    }

    function testResetCountsForTheRegistersThatWereSigned() external {
        // The account agreed to lose what lay behind 0 Wh, not to lose the 100 Wh that came since.
        register(METER, ALICE);
        uint256 fresh = packReading(block.timestamp - 800, 1, 0, 0);
        bytes memory proof = resetProof(METER, ALICE, fresh);
        read(METER, block.timestamp - 900, 1, 100);
        _resets(METER, fresh, proof, ISmartMeter.MeterSignatureInvalid.selector);
    }

    function testResetOfAnotherMeter() external {
        register(METER, ALICE);
        register(METER + 1, ALICE);
        uint256 fresh = packReading(block.timestamp, 1, 0, 0);
        bytes memory proof = resetProof(METER, ALICE, fresh);
        _resets(METER + 1, fresh, proof, ISmartMeter.MeterSignatureInvalid.selector);
    }

    function testResetOfAnotherChain() external {
        register(METER, ALICE);
        uint256 fresh = packReading(block.timestamp, 1, 0, 0);
        bytes memory proof = resetProof(METER, ALICE, fresh);
        VM.chainId(block.chainid + 1);
        _resets(METER, fresh, proof, ISmartMeter.MeterSignatureInvalid.selector);
    }

    function testARegistrationIsNoRotation() external {
        // The operator makes one meter of two that their owner registers.
        register(METER, ALICE);
        (bytes32 x, bytes32 y,,,, bytes memory meterSignature, bytes memory accountSignature) = abi.decode(
            proofOf(METER + 1, ALICE), (bytes32, bytes32, address, uint32, uint32, bytes, bytes)
        );
        bytes memory proof = abi.encode(x, y, meterSignature, accountSignature);
        (uint256 oldDevice, uint256 newDevice) = (deviceOf(METER), deviceOf(METER + 1));
        VM.prank(operator);
        VM.expectRevert(
            abi.encodeWithSelector(ISmartMeter.MeterSignatureInvalid.selector, newDevice)
        );
        registry.rotateMeter(oldDevice, newDevice, proof);
    }

    function testARotationCountsForTheMeterThatWasSigned() external {
        register(METER, ALICE);
        register(METER + 1, ALICE);
        bytes memory proof = rotationProof(deviceOf(METER), METER + 2, ALICE);
        (uint256 other, uint256 newDevice) = (deviceOf(METER + 1), deviceOf(METER + 2));
        VM.prank(operator);
        VM.expectRevert(
            abi.encodeWithSelector(ISmartMeter.MeterSignatureInvalid.selector, newDevice)
        );
        registry.rotateMeter(other, newDevice, proof);
    }

    function testARotatedKeyCannotComeBack() external {
        register(METER, ALICE);
        rotate(METER, METER + 1, ALICE);
        bytes memory proof = rotationProof(deviceOf(METER + 1), METER, ALICE);
        (uint256 oldDevice, uint256 newDevice) = (deviceOf(METER + 1), deviceOf(METER));
        VM.prank(operator);
        VM.expectRevert(
            abi.encodeWithSelector(ISmartMeter.MeterAlreadyRegistered.selector, newDevice)
        );
        registry.rotateMeter(oldDevice, newDevice, proof);
    }

    /// @dev Refused for `why`, or done when that is zero.
    function _resets(uint256 meterKey, uint256 fresh, bytes memory proof, bytes4 why) private {
        uint256 deviceId = deviceOf(meterKey);
        VM.prank(operator);
        if (why != 0) VM.expectPartialRevert(why);
        registry.resetMeter(deviceId, fresh, proof);
    }

    function _isVerifiedAndTwinRefused() private {
        uint256 deviceId = deviceOf(METER);
        if (registry.meterOf(deviceId).account == address(0)) register(METER, ALICE);
        uint256 reading = packReading(block.timestamp, 1, 10, 10);
        bytes memory signature = signReading(METER, reading);
        VM.assertTrue(registry.verifyReading(deviceId, reading, signature), "signed");
        (bytes32 r, bytes32 s,,) = abi.decode(signature, (bytes32, bytes32, bytes32, bytes32));
        bytes32 twin = bytes32(P256_ORDER - uint256(s));
        bytes memory other = bytes.concat(r, twin, bytes32(0), bytes32(0));
        VM.assertFalse(registry.verifyReading(deviceId, reading, other), "the twin");
        other = bytes.concat(r ^ bytes32(uint256(1)), s, bytes32(0), bytes32(0));
        VM.assertFalse(registry.verifyReading(deviceId, reading, other), "another r");
    }
}
