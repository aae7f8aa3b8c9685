// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {EnergyLedger} from "../../src/EnergyLedger.sol";
import {IEnergyLedger} from "../../src/interfaces/IEnergyLedger.sol";
import {CompactSignature} from "../../src/libraries/CompactSignature.sol";
import {Batches, TestOrder} from "../base/Batches.sol";
import {Community} from "../base/Community.sol";
import {VM} from "../base/Vm.sol";

/// @title SignatureAttacks: one signed order has one signature, for one ledger on one chain
contract SignatureAttacks is Community {
    uint256 private constant ORDER =
        0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;

    function setUp() public override {
        super.setUp();
        fund(alice);
        fund(bob);
    }

    function testTwinWithHighS() external {
        (bytes32 r, bytes32 vs) = _signed();
        uint256 s = uint256(vs) & uint256(type(int256).max);
        bool odd = uint256(vs) >> 255 == 1;
        // The twin's s does not even fit beside the parity bit where it is above 2^255.
        uint256 twin = ORDER - s;
        _refusedWith(r, bytes32(twin));
        _refusedWith(r, bytes32(twin | uint256(odd ? 0 : 1) << 255));
    }

    function testHighSThatFitsBesideTheParity() external view {
        // s just above half the order has no parity bit in the way: refused for being high.
        bytes32 digest = "digest";
        bytes32 r = bytes32(uint256(1));
        uint256 s = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A1;
        for (uint8 v = 27; v <= 28; ++v) {
            address signer = ecrecover(digest, v, r, bytes32(s));
            VM.assertTrue(signer != address(0), "a valid twin");
            bytes32 vs = bytes32(s | uint256(v - 27) << 255);
            VM.assertFalse(_isBy(signer, digest, r, vs), "refused all the same");
        }
    }

    function testOtherParity() external {
        (bytes32 r, bytes32 vs) = _signed();
        _refusedWith(r, vs ^ bytes32(uint256(1) << 255));
    }

    function testZeroRAndZeroS() external {
        (bytes32 r, bytes32 vs) = _signed();
        _refusedWith(0, vs);
        _refusedWith(r, 0);
        _refusedWith(0, 0);
        _refusedWith(r, bytes32(uint256(1) << 255));
    }

    function testZeroSigner() external {
        // Recovery of nonsense gives the zero address: it must not be an account.
        TestOrder memory order = Batches.sell(ALICE, 10, PRICE, PRICE);
        bytes memory rows = Batches.encode(address(0), order, 0, 0);
        VM.prank(operator);
        VM.expectPartialRevert(IEnergyLedger.RowSignatureInvalid.selector);
        ledger.settleBatch(START, 0, 0, rows);
        VM.assertFalse(_isBy(address(0), "digest", 0, 0), "not in the library either");
    }

    function testAnothersSignature() external {
        TestOrder memory order = Batches.sell(ALICE, 10, PRICE, PRICE);
        (bytes32 r, bytes32 vs) = Batches.compact(BOB, Batches.digestOf(ledger, START, order));
        _refusedWith(r, vs);
    }

    function testReplayOnAnotherChain() external {
        bytes memory rows = Batches.pack(ledger, START, trade(10));
        VM.chainId(block.chainid + 1);
        VM.prank(operator);
        VM.expectPartialRevert(IEnergyLedger.RowSignatureInvalid.selector);
        ledger.settleBatch(START, 0, 0, rows);
    }

    function testReplayInAnotherDeployment() external {
        bytes memory rows = Batches.pack(ledger, START, trade(10));
        EnergyLedger other = newLedger();
        bytes4[] memory selectors = new bytes4[](1);
        selectors[0] = EnergyLedger.settleBatch.selector;
        authority.setTargetFunctionRole(address(other), selectors, 1);
        VM.prank(operator);
        VM.expectPartialRevert(IEnergyLedger.RowSignatureInvalid.selector);
        other.settleBatch(START, 0, 0, rows);
    }

    function testReplayInAnotherInterval() external {
        bytes memory rows = Batches.pack(ledger, START, trade(10));
        VM.prank(operator);
        VM.expectPartialRevert(IEnergyLedger.RowSignatureInvalid.selector);
        ledger.settleBatch(START - INTERVAL_S, 0, 0, rows);
    }

    function testSideCannotBeTurned() external {
        TestOrder[] memory orders = trade(10);
        bytes memory rows = Batches.pack(ledger, START, orders);
        rows[20] ^= 0x01;
        VM.prank(operator);
        VM.expectPartialRevert(IEnergyLedger.RowSignatureInvalid.selector);
        ledger.settleBatch(START, 0, 0, rows);
    }

    function _signed() private view returns (bytes32 r, bytes32 vs) {
        return Batches.compact(
            ALICE, Batches.digestOf(ledger, START, Batches.sell(ALICE, 10, PRICE, PRICE))
        );
    }

    /// @dev Alice's sale with this signature.
    function _refusedWith(bytes32 r, bytes32 vs) private {
        TestOrder memory order = Batches.sell(ALICE, 10, PRICE, PRICE);
        bytes32 digest = Batches.digestOf(ledger, START, order);
        bytes memory rows = Batches.encode(alice, order, r, vs);
        VM.prank(operator);
        VM.expectRevert(
            abi.encodeWithSelector(IEnergyLedger.RowSignatureInvalid.selector, alice, digest)
        );
        ledger.settleBatch(START, 0, 0, rows);
    }

    function _isBy(address signer, bytes32 digest, bytes32 r, bytes32 vs)
        private
        view
        returns (bool)
    {
        return CompactSignature.isBy(signer, digest, r, vs);
    }
}
