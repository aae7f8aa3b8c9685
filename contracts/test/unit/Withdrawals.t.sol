// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IEnergyLedger} from "../../src/interfaces/IEnergyLedger.sol";
import {Consents} from "../base/Consents.sol";
import {LedgerTest} from "../base/LedgerTest.sol";
import {VM} from "../base/Vm.sol";

/// @title WithdrawalsTest: a member's own way out, and the signed one that others bring
contract WithdrawalsTest is LedgerTest {
    function setUp() public override {
        super.setUp();
        fund(alice, 5e6);
    }

    /* ON ONE'S OWN */

    function testARequestSaysWhenAndHowMuch() external {
        VM.expectEmit(address(ledger));
        emit IEnergyLedger.WithdrawalRequested(alice, 3e6, block.timestamp + EXIT_DELAY_S);
        _request(3e6);
        _hasRequest(3e6, block.timestamp + EXIT_DELAY_S);
        VM.assertEq(moneyOf(alice), 5e6, "still there, to pay with");
    }

    function testWithdrawAfterTheDelay() external {
        _request(3e6);
        VM.warp(block.timestamp + EXIT_DELAY_S);
        VM.expectEmit(address(ledger));
        emit IEnergyLedger.Withdrawn(alice, bob, 2e6);
        VM.prank(alice);
        ledger.withdraw(2e6, bob);
        VM.assertEq(moneyOf(alice), 3e6, "the rest");
        VM.assertEq(currency.balanceOf(bob), 2e6, "sent");
        _hasRequest(1e6, block.timestamp);
        _refusedWithdraw(1e6 + 1, _notRequested(1e6, 1e6 + 1));
        VM.prank(alice);
        ledger.withdraw(1e6, alice);
        _refusedWithdraw(1, _notRequested(0, 1));
    }

    function testWithdrawNotBeforeTheDelaysLastSecond() external {
        _request(3e6);
        uint256 availableAt = block.timestamp + EXIT_DELAY_S;
        bytes memory why =
            abi.encodeWithSelector(IEnergyLedger.WithdrawalTooEarly.selector, alice, availableAt);
        _refusedWithdraw(3e6, why);
        VM.warp(availableAt - 1);
        _refusedWithdraw(3e6, why);
        VM.warp(availableAt);
        VM.prank(alice);
        ledger.withdraw(3e6, alice);
    }

    /// @dev Nobody has a standing request, which would beat every later settlement.
    function testARequestLapsesADayAfterItsDelay() external {
        _request(3e6);
        uint256 lapsedAt = block.timestamp + EXIT_DELAY_S + 1 days;
        VM.warp(lapsedAt);
        VM.prank(alice);
        ledger.withdraw(1e6, alice);
        VM.warp(lapsedAt + 1);
        bytes memory why =
            abi.encodeWithSelector(IEnergyLedger.WithdrawalLapsed.selector, alice, lapsedAt);
        _refusedWithdraw(1e6, why);
        refusedRelay(carol, ALICE, wanted(alice, 1e6), why);
        leave(ledger, alice, 4e6);
        VM.assertEq(currency.balanceOf(alice), 5e6, "asked again, and left");
    }

    function testALapsedRequestIsBroughtAgain() external {
        IEnergyLedger.Withdrawal memory withdrawal = wanted(alice, 2e6);
        withdrawal.deadline = block.timestamp + 30 days;
        (bytes32 r, bytes32 vs) = Consents.withdrawal(ALICE, ledger, withdrawal);
        ledger.requestWithdrawalFor(withdrawal, r, vs);
        uint256 availableAt = block.timestamp + EXIT_DELAY_S;
        VM.warp(availableAt + 1 days);
        ledger.requestWithdrawalFor(withdrawal, r, vs);
        _hasRequest(2e6, availableAt);
        VM.warp(availableAt + 1 days + 1);
        ledger.requestWithdrawalFor(withdrawal, r, vs);
        _hasRequest(2e6, block.timestamp + EXIT_DELAY_S);
    }

    function testWithdrawNeedsARequest() external {
        _refusedWithdraw(1, _notRequested(0, 1));
        VM.warp(block.timestamp + 365 days);
        _refusedWithdraw(1, _notRequested(0, 1));
    }

    function testANewRequestReplacesTheOldAndItsDelay() external {
        _request(1e6);
        VM.warp(block.timestamp + EXIT_DELAY_S);
        _request(2e6);
        _hasRequest(2e6, block.timestamp + EXIT_DELAY_S);
        _refusedWithdraw(
            1e6,
            abi.encodeWithSelector(
                IEnergyLedger.WithdrawalTooEarly.selector, alice, block.timestamp + EXIT_DELAY_S
            )
        );
        _request(0);
        VM.warp(block.timestamp + EXIT_DELAY_S);
        _refusedWithdraw(1, _notRequested(0, 1));
    }

    function testARequestHasABound() external {
        VM.prank(alice);
        VM.expectRevert(
            abi.encodeWithSignature(
                "SafeCastOverflowedUintDowncast(uint8,uint256)", 64, uint256(2 ** 64)
            )
        );
        ledger.requestWithdrawal(2 ** 64);
    }

    function testWithdrawRefusals() external {
        _request(type(uint64).max);
        VM.warp(block.timestamp + EXIT_DELAY_S);
        _refusedWithdraw(0, abi.encodeWithSelector(IEnergyLedger.AmountZero.selector));
        _refusedWithdraw(
            5e6 + 1,
            abi.encodeWithSelector(
                IEnergyLedger.AccountMoneyInsufficient.selector, alice, 5e6, 5e6 + 1
            )
        );
        VM.startPrank(alice);
        VM.expectRevert(abi.encodeWithSelector(IEnergyLedger.RecipientInvalid.selector, address(0)));
        ledger.withdraw(1, address(0));
        VM.expectRevert(
            abi.encodeWithSelector(IEnergyLedger.RecipientInvalid.selector, address(ledger))
        );
        ledger.withdraw(1, address(ledger));
    }

    /* SIGNED, BROUGHT BY THE SETTLER */

    function testTheSettlerRelaysAtOnce() external {
        IEnergyLedger.Withdrawal memory withdrawal = wanted(alice, 2e6);
        withdrawal.to = bob;
        VM.expectEmit(address(ledger));
        emit IEnergyLedger.Withdrawn(alice, bob, 2e6);
        relay(operator, ALICE, withdrawal);
        VM.assertEq(moneyOf(alice), 3e6, "the rest");
        VM.assertEq(currency.balanceOf(bob), 2e6, "sent");
        VM.assertEq(currency.balanceOf(operator), 0, "no fee was signed");
        (,, uint256 nonce) = ledger.withdrawalOf(alice);
        VM.assertEq(nonce, 1, "its signature is spent");
    }

    function testTheRelayFeeIsWhatWasSigned() external {
        IEnergyLedger.Withdrawal memory withdrawal = wanted(alice, 2e6);
        withdrawal.relayFeeMicro = 300;
        relay(operator, ALICE, withdrawal);
        VM.assertEq(currency.balanceOf(alice), 2e6, "what was wanted");
        VM.assertEq(currency.balanceOf(operator), 300, "the bringer's");
        VM.assertEq(moneyOf(alice), 3e6 - 300, "both taken");
    }

    function testARelayLeavesTheRequestAlone() external {
        _request(5e6);
        uint256 availableAt = block.timestamp + EXIT_DELAY_S;
        relay(operator, ALICE, wanted(alice, 2e6));
        _hasRequest(5e6, availableAt);
    }

    function testARelayedWithdrawalCountsOnce() external {
        IEnergyLedger.Withdrawal memory withdrawal = wanted(alice, 2e6);
        relay(operator, ALICE, withdrawal);
        refusedRelay(operator, ALICE, withdrawal, _nonceInvalid(0, 1));
        relay(operator, ALICE, wanted(alice, 2e6));
        VM.assertEq(moneyOf(alice), 1e6, "the next one has the next nonce");
    }

    function testNoncesGoInTurn() external {
        IEnergyLedger.Withdrawal memory withdrawal = wanted(alice, 1);
        withdrawal.nonce = 1;
        refusedRelay(operator, ALICE, withdrawal, _nonceInvalid(1, 0));
    }

    function testASignedWithdrawalEndsWithItsDeadline() external {
        IEnergyLedger.Withdrawal memory withdrawal = wanted(alice, 2e6);
        VM.warp(withdrawal.deadline + 1);
        bytes memory why = abi.encodeWithSelector(
            IEnergyLedger.WithdrawalExpired.selector, alice, withdrawal.deadline
        );
        refusedRelay(operator, ALICE, withdrawal, why);
        (bytes32 r, bytes32 vs) = Consents.withdrawal(ALICE, ledger, withdrawal);
        VM.expectRevert(why);
        ledger.requestWithdrawalFor(withdrawal, r, vs);
        VM.warp(withdrawal.deadline);
        relay(operator, ALICE, withdrawal);
    }

    function testOnlyTheOwnerSigns() external {
        bytes memory why = abi.encodeWithSelector(IEnergyLedger.SignatureInvalid.selector, alice);
        refusedRelay(operator, BOB, wanted(alice, 2e6), why);
        IEnergyLedger.Withdrawal memory withdrawal = wanted(alice, 2e6);
        (bytes32 r, bytes32 vs) = Consents.withdrawal(BOB, ledger, withdrawal);
        VM.expectRevert(why);
        ledger.requestWithdrawalFor(withdrawal, r, vs);
    }

    function testNothingSignedCanBeChanged() external {
        IEnergyLedger.Withdrawal memory withdrawal = wanted(alice, 2e6);
        (bytes32 r, bytes32 vs) = Consents.withdrawal(ALICE, ledger, withdrawal);
        withdrawal.to = operator;
        _refusedSignature(withdrawal, r, vs);
        withdrawal.to = alice;
        withdrawal.moneyMicro += 1;
        _refusedSignature(withdrawal, r, vs);
        withdrawal.moneyMicro -= 1;
        withdrawal.relayFeeMicro = 1;
        _refusedSignature(withdrawal, r, vs);
        withdrawal.relayFeeMicro = 0;
        withdrawal.deadline += 1;
        _refusedSignature(withdrawal, r, vs);
        withdrawal.deadline -= 1;
        VM.prank(operator);
        ledger.relayWithdrawal(withdrawal, r, vs);
    }

    function testRelayRefusals() external {
        IEnergyLedger.Withdrawal memory withdrawal = wanted(alice, 5e6);
        withdrawal.relayFeeMicro = 1;
        refusedRelay(
            operator,
            ALICE,
            withdrawal,
            abi.encodeWithSelector(
                IEnergyLedger.AccountMoneyInsufficient.selector, alice, 5e6, 5e6 + 1
            )
        );
        withdrawal = wanted(alice, 0);
        withdrawal.relayFeeMicro = 1;
        refusedRelay(
            operator, ALICE, withdrawal, abi.encodeWithSelector(IEnergyLedger.AmountZero.selector)
        );
        withdrawal = wanted(alice, 1);
        withdrawal.to = address(ledger);
        refusedRelay(
            operator,
            ALICE,
            withdrawal,
            abi.encodeWithSelector(IEnergyLedger.RecipientInvalid.selector, address(ledger))
        );
        withdrawal = wanted(alice, 1);
        withdrawal.relayFeeMicro = type(uint256).max;
        refusedRelay(
            operator, ALICE, withdrawal, abi.encodeWithSignature("Panic(uint256)", uint256(0x11))
        );
    }

    /* SIGNED, BROUGHT BY ANYBODY ELSE */

    function testAStrangerBringsARequestAndTheWithdrawal() external {
        IEnergyLedger.Withdrawal memory withdrawal = wanted(alice, 2e6);
        withdrawal.relayFeeMicro = 300;
        withdrawal.deadline = block.timestamp + 30 days;
        refusedRelay(carol, ALICE, withdrawal, _notRequested(0, 2e6 + 300));
        (bytes32 r, bytes32 vs) = Consents.withdrawal(ALICE, ledger, withdrawal);
        uint256 availableAt = block.timestamp + EXIT_DELAY_S;
        VM.expectEmit(address(ledger));
        emit IEnergyLedger.WithdrawalRequested(alice, 2e6 + 300, availableAt);
        VM.prank(carol);
        ledger.requestWithdrawalFor(withdrawal, r, vs);
        VM.warp(availableAt - 1);
        refusedRelay(
            carol,
            ALICE,
            withdrawal,
            abi.encodeWithSelector(IEnergyLedger.WithdrawalTooEarly.selector, alice, availableAt)
        );
        VM.warp(availableAt);
        relay(carol, ALICE, withdrawal);
        VM.assertEq(currency.balanceOf(alice), 2e6, "the owner's");
        VM.assertEq(currency.balanceOf(carol), 300, "the bringer's");
        _hasRequest(0, availableAt);
    }

    function testARequestBroughtAgainStartsNoNewDelay() external {
        IEnergyLedger.Withdrawal memory withdrawal = wanted(alice, 2e6);
        (bytes32 r, bytes32 vs) = Consents.withdrawal(ALICE, ledger, withdrawal);
        ledger.requestWithdrawalFor(withdrawal, r, vs);
        uint256 availableAt = block.timestamp + EXIT_DELAY_S;
        VM.warp(block.timestamp + 1 hours);
        ledger.requestWithdrawalFor(withdrawal, r, vs);
        _hasRequest(2e6, availableAt);
        _request(5e6);
        availableAt = block.timestamp + EXIT_DELAY_S;
        VM.warp(block.timestamp + 1 hours);
        ledger.requestWithdrawalFor(withdrawal, r, vs);
        _hasRequest(5e6, availableAt);
    }

    /* ALWAYS */

    function testNeitherPauseNorFlagsNorRulesKeepMoneyIn() external {
        flag(alice, 0xff);
        ledger.setCompliance(address(this), true); // which answers nothing but reverts
        pause(true);
        _request(1e6);
        IEnergyLedger.Withdrawal memory withdrawal = wanted(alice, 2e6);
        withdrawal.deadline = block.timestamp + 30 days;
        relay(operator, ALICE, withdrawal);
        withdrawal = wanted(alice, 1e6);
        withdrawal.deadline = block.timestamp + 30 days;
        (bytes32 r, bytes32 vs) = Consents.withdrawal(ALICE, ledger, withdrawal);
        ledger.requestWithdrawalFor(withdrawal, r, vs);
        VM.warp(block.timestamp + EXIT_DELAY_S);
        relay(carol, ALICE, withdrawal);
        leave(ledger, alice, 2e6);
        VM.assertEq(currency.balanceOf(alice), 5e6, "everything left");
        VM.prank(alice);
        ledger.cancelInterval(_next());
    }

    function testMembersLeaveWithoutASettler() external {
        ledger.setSettler(address(0));
        leave(ledger, alice, 5e6);
        VM.assertEq(currency.balanceOf(alice), 5e6, "everything left");
    }

    /* HELP */

    function _request(uint256 moneyMicro) private {
        VM.prank(alice);
        ledger.requestWithdrawal(moneyMicro);
    }

    function _next() private view returns (uint64) {
        return uint64(block.timestamp - block.timestamp % INTERVAL_S + INTERVAL_S);
    }

    function _hasRequest(uint256 moneyMicro, uint256 at) private view {
        (uint256 requestedMicro, uint256 availableAt,) = ledger.withdrawalOf(alice);
        VM.assertEq(requestedMicro, moneyMicro, "requested");
        VM.assertEq(availableAt, at, "from then on");
    }

    function _refusedWithdraw(uint256 moneyMicro, bytes memory why) private {
        VM.prank(alice);
        VM.expectRevert(why);
        ledger.withdraw(moneyMicro, alice);
    }

    function _refusedSignature(IEnergyLedger.Withdrawal memory withdrawal, bytes32 r, bytes32 vs)
        private
    {
        VM.prank(operator);
        VM.expectRevert(abi.encodeWithSelector(IEnergyLedger.SignatureInvalid.selector, alice));
        ledger.relayWithdrawal(withdrawal, r, vs);
    }

    function _notRequested(uint256 requestedMicro, uint256 neededMicro)
        private
        view
        returns (bytes memory)
    {
        return abi.encodeWithSelector(
            IEnergyLedger.WithdrawalNotRequested.selector, alice, requestedMicro, neededMicro
        );
    }

    function _nonceInvalid(uint256 nonce, uint256 expected) private view returns (bytes memory) {
        return abi.encodeWithSelector(
            IEnergyLedger.WithdrawalNonceInvalid.selector, alice, nonce, expected
        );
    }
}
