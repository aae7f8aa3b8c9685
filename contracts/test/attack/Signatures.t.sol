// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {EnergyLedger} from "../../src/EnergyLedger.sol";
import {IEnergyLedger} from "../../src/interfaces/IEnergyLedger.sol";
import {CompactSignature} from "../../src/libraries/CompactSignature.sol";
import {Batches, TestOrder} from "../base/Batches.sol";
import {Consents} from "../base/Consents.sol";
import {LedgerTest} from "../base/LedgerTest.sol";
import {VM} from "../base/Vm.sol";

/// @title SignatureAttacks: one signed order has one signature, for one ledger on one chain
contract SignatureAttacks is LedgerTest {
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
        (bool success, bytes memory why) = trySettle(START, Batches.encode(address(0), order, 0, 0));
        VM.assertFalse(success, "nobody's order");
        VM.assertTrue(
            bytes4(why) == IEnergyLedger.RowOrderNotAscending.selector
                || bytes4(why) == IEnergyLedger.RowSignatureInvalid.selector,
            "for its account"
        );
        refusedRows(Batches.encode(alice, order, 0, 0), IEnergyLedger.RowSignatureInvalid.selector);
        VM.assertFalse(_isBy(address(0), "digest", 0, 0), "not in the library either");
    }

    /// @dev What the last recovery left in memory must not answer for a signature that recovers nobody.
    function testNonsenseAfterAGoodRowIsNobodys() external {
        TestOrder memory signed = Batches.sell(ALICE, 10, PRICE, PRICE);
        TestOrder memory forged = Batches.sell(ALICE, 20, 0, 0);
        while (digest(forged) < digest(signed)) {
            forged.terms = keccak256(abi.encode(forged.terms));
        }
        bytes memory rows =
            bytes.concat(Batches.row(ledger, START, signed), Batches.encode(alice, forged, 0, 0));
        refusedRows(
            rows,
            abi.encodeWithSelector(
                IEnergyLedger.RowSignatureInvalid.selector, alice, digest(forged)
            )
        );
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
        VM.prank(operator);
        VM.expectPartialRevert(IEnergyLedger.RowSignatureInvalid.selector);
        other.settleBatch(START, 0, 0, rows);
    }

    function testReplayInAnotherMarket() external {
        bytes memory rows = Batches.pack(ledger, START, trade(10));
        IEnergyLedger.Terms memory terms = termsOf(address(currency));
        terms.market = "other-street";
        // The same address: only the market's name tells the orders apart.
        VM.etch(address(ledger), address(newLedger(terms)).code);
        refusedRows(rows, IEnergyLedger.RowSignatureInvalid.selector);
    }

    /// @dev A withdrawal, a mandate and a correction of the fork's other side count no more than orders.
    function testOtherConsentsOnAnotherChain() external {
        IEnergyLedger.Withdrawal memory withdrawal = wanted(alice, 1);
        (bytes32 r, bytes32 vs) = Consents.withdrawal(ALICE, ledger, withdrawal);
        IEnergyLedger.Mandate memory mandate = IEnergyLedger.Mandate(alice, bob, 0, 1, 1, 0, 0);
        (bytes32 mandateR, bytes32 mandateVs) = Consents.mandate(ALICE, ledger, mandate);
        bytes memory why = abi.encodeWithSelector(IEnergyLedger.SignatureInvalid.selector, alice);
        VM.chainId(block.chainid + 1);
        VM.prank(operator);
        VM.expectRevert(why);
        ledger.relayWithdrawal(withdrawal, r, vs);
        VM.expectRevert(why);
        ledger.setMandateFor(mandate, mandateR, mandateVs);
    }

    function testConsentsHaveNoTwinsAndNoZeroSigner() external {
        IEnergyLedger.Withdrawal memory withdrawal = wanted(alice, 1);
        (bytes32 r, bytes32 vs) = Consents.withdrawal(ALICE, ledger, withdrawal);
        bytes memory why = abi.encodeWithSelector(IEnergyLedger.SignatureInvalid.selector, alice);
        VM.startPrank(operator);
        VM.expectRevert(why);
        ledger.relayWithdrawal(withdrawal, r, vs ^ bytes32(uint256(1) << 255));
        uint256 s = uint256(vs) & uint256(type(int256).max);
        VM.expectRevert(why);
        ledger.relayWithdrawal(withdrawal, r, bytes32(ORDER - s));
        VM.expectRevert(why);
        ledger.relayWithdrawal(withdrawal, 0, 0);
        withdrawal.account = address(0);
        VM.expectRevert(abi.encodeWithSelector(IEnergyLedger.SignatureInvalid.selector, address(0)));
        ledger.relayWithdrawal(withdrawal, 0, 0);
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
