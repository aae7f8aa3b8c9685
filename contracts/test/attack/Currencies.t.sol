// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {EnergyLedger} from "../../src/EnergyLedger.sol";
import {IEnergyLedger} from "../../src/interfaces/IEnergyLedger.sol";
import {Consents} from "../base/Consents.sol";
import {LedgerTest} from "../base/LedgerTest.sol";
import {
    AuthorizedToken,
    CallbackToken,
    FalseToken,
    FeeToken,
    OddToken,
    RebasingToken,
    SilentToken
} from "../base/Tokens.sol";
import {VM} from "../base/Vm.sol";

/// @title CurrencyAttacks: a currency that misbehaves takes nothing from anybody
contract CurrencyAttacks is LedgerTest {
    EnergyLedger private odd;

    /* AMOUNTS */

    function testFeeOnTransferCreditsWhatArrived() external {
        OddToken money = new FeeToken();
        _depositWith(money, 1000);
        VM.assertEq(_money(address(this)), 990, "less the fee");
        VM.assertEq(money.balanceOf(address(odd)), 990, "which is there");
    }

    function testFalseReturnCreditsNothing() external {
        FalseToken money = new FalseToken();
        _depositWith(money, 1000);
        _askFor(1000);
        money.refuse(true);
        bytes memory why =
            abi.encodeWithSignature("SafeERC20FailedOperation(address)", address(money));
        VM.expectRevert(why);
        odd.deposit(1);
        VM.expectRevert(why);
        odd.withdraw(1, alice);
        VM.assertEq(_money(address(this)), 1000, "as before");
    }

    function testNoReturnWorks() external {
        SilentToken money = new SilentToken();
        odd = newLedger(address(money));
        money.mint(address(this), 1000);
        odd.deposit(1000);
        _askFor(400);
        odd.withdraw(400, alice);
        VM.assertEq(_money(address(this)), 600, "the rest");
        VM.assertEq(money.balanceOf(alice), 400, "sent");
    }

    function testStrayTransfersCreditNobody() external {
        OddToken money = new FeeToken();
        _depositWith(money, 1000);
        money.mint(address(odd), 5000);
        odd.deposit(1000);
        VM.assertEq(_money(address(this)), 1980, "only what this deposit brought");
    }

    /// @dev Gains belong to nobody; after a loss withdrawals are paid whole until nothing is left.
    function testRebasingCreditsNobodyAndPaysInTurn() external {
        RebasingToken money = new RebasingToken();
        _depositWith(money, 1000);
        odd.depositFor(bob, 1000);
        money.rebase(150);
        VM.assertEq(_money(address(this)), 1000, "no gain");
        money.rebase(50);
        _askFor(1000);
        odd.withdraw(1000, alice);
        VM.assertEq(money.balanceOf(alice), 1000, "the first is paid");
        VM.prank(bob);
        odd.requestWithdrawal(1000);
        VM.warp(block.timestamp + EXIT_DELAY_S);
        VM.prank(bob);
        VM.expectPartialRevert(
            bytes4(keccak256("ERC20InsufficientBalance(address,uint256,uint256)"))
        );
        odd.withdraw(1000, bob);
        VM.assertEq(_money(bob), 1000, "the last keeps its claim");
    }

    function testACurrencyWithoutCodeCreditsNothing() external {
        OddToken money = new FeeToken();
        _depositWith(money, 1000);
        _askFor(1);
        VM.etch(address(money), "");
        VM.expectRevert();
        odd.deposit(1);
        VM.expectRevert();
        odd.withdraw(1, alice);
        VM.expectRevert();
        odd.depositWithAuthorization(alice, 1, 0, 0, 0, 27, 0, 0);
        VM.assertEq(_money(address(this)), 990, "as before");
        VM.expectRevert(
            abi.encodeWithSelector(IEnergyLedger.ConfigurationInvalid.selector, "currency")
        );
        new EnergyLedger(address(authority), termsOf(address(money)));
    }

    /* SIGNED DEPOSITS */

    function testAPermitUsedByAnotherFirstDoesNoHarm() external {
        currency.mint(alice, 5e6);
        bytes32 typeHash = keccak256(
            "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
        );
        bytes32 structHash =
            keccak256(abi.encode(typeHash, alice, address(ledger), 5e6, 0, block.timestamp));
        (uint8 v, bytes32 r, bytes32 s) = VM.sign(
            ALICE, keccak256(abi.encodePacked(hex"1901", currency.DOMAIN_SEPARATOR(), structHash))
        );
        VM.prank(bob);
        currency.permit(alice, address(ledger), 5e6, block.timestamp, v, r, s);
        VM.prank(alice);
        ledger.depositWithPermit(5e6, block.timestamp, v, r, s);
        VM.assertEq(moneyOf(alice), 5e6, "deposited all the same");
    }

    function testAnAuthorizationCountsOnceAndOnlyHere() external {
        AuthorizedToken money = new AuthorizedToken();
        money.mint(alice, 5e6);
        odd = newLedger(address(money));
        uint256 until = block.timestamp + 1;
        bytes32 signed = money.receiveDigest(alice, address(odd), 2e6, 0, until, "once");
        (uint8 v, bytes32 r, bytes32 s) = VM.sign(ALICE, signed);
        EnergyLedger other = newLedger(address(money));
        bytes memory why = abi.encodeWithSignature("ERC3009InvalidSignature()");
        VM.expectRevert(why);
        other.depositWithAuthorization(alice, 2e6, 0, until, "once", v, r, s);
        VM.expectRevert(why); // nobody books it to itself, nor more of it
        odd.depositWithAuthorization(bob, 2e6, 0, until, "once", v, r, s);
        VM.expectRevert(why);
        odd.depositWithAuthorization(alice, 3e6, 0, until, "once", v, r, s);
        // Executed past the ledger it would be credited to nobody: the currency refuses that.
        VM.prank(bob);
        VM.expectRevert(abi.encodeWithSignature("ERC20InvalidReceiver(address)", address(odd)));
        money.receiveWithAuthorization(alice, address(odd), 2e6, 0, until, "once", v, r, s);
        odd.depositWithAuthorization(alice, 2e6, 0, until, "once", v, r, s);
        VM.expectRevert();
        odd.depositWithAuthorization(alice, 2e6, 0, until, "once", v, r, s);
        VM.assertEq(_money(alice), 2e6, "once");
    }

    /// @dev USDT has no such function, and one with a silent fallback moves nothing.
    function testACurrencyThatOnlySeemsToTakeAuthorizations() external {
        SilentToken silent = new SilentToken();
        odd = newLedger(address(silent));
        VM.expectRevert();
        odd.depositWithAuthorization(alice, 1, 0, 0, 0, 27, 0, 0);
        ledger = newLedger(address(new SilentFallback()));
        VM.expectRevert(IEnergyLedger.AmountZero.selector);
        ledger.depositWithAuthorization(alice, 1, 0, 0, 0, 27, 0, 0);
    }

    function testNobodysApprovalIsTheSettlersToUse() external {
        currency.mint(alice, 5e6);
        VM.prank(alice);
        currency.approve(address(ledger), type(uint256).max);
        VM.startPrank(operator);
        VM.expectRevert();
        ledger.deposit(1);
        VM.expectRevert();
        ledger.depositFor(operator, 1);
        VM.expectRevert();
        ledger.depositWithPermit(1, block.timestamp, 27, 0, 0);
        VM.assertEq(currency.balanceOf(alice), 5e6, "her wallet's money stays there");
    }

    /* RE-ENTRANCE */

    function testReentrantDepositIsRefused() external {
        CallbackToken money = new CallbackToken();
        _depositWith(money, 1000);
        money.callBack(address(odd), abi.encodeCall(IEnergyLedger.deposit, (1000)));
        odd.deposit(1000);
        _wasLockedOut(money);
        VM.assertEq(_money(address(this)), 2000, "once each");
    }

    function testReentrantWithdrawalIsRefused() external {
        CallbackToken money = new CallbackToken();
        _depositWith(money, 1000);
        _askFor(1000);
        money.callBack(address(odd), abi.encodeCall(IEnergyLedger.withdraw, (1000, alice)));
        odd.withdraw(1000, alice);
        _wasLockedOut(money);
        VM.assertEq(money.balanceOf(alice), 1000, "once");
    }

    /// @dev From within each way in and out, each other entry.
    function testReentrancyAcrossFunctionsIsRefused() external {
        CallbackToken money = new CallbackToken();
        _depositWith(money, 1000);
        _askFor(100);
        bytes[] memory entries = _entries();
        for (uint256 i; i < entries.length; ++i) {
            money.callBack(address(odd), entries[i]);
            if (i % 2 == 0) odd.withdraw(1, alice);
            else odd.deposit(1);
            _wasLockedOut(money);
        }
    }

    function testReentrantRelayIsRefused() external {
        CallbackToken money = new CallbackToken();
        odd = newLedger(address(money));
        money.mint(address(this), 1000);
        money.approve(address(odd), 1000);
        odd.depositFor(alice, 1000);
        IEnergyLedger.Withdrawal memory withdrawal =
            IEnergyLedger.Withdrawal(alice, alice, 500, 10, 0, block.timestamp);
        (bytes32 r, bytes32 vs) = Consents.withdrawal(ALICE, odd, withdrawal);
        money.callBack(
            address(odd), abi.encodeCall(IEnergyLedger.relayWithdrawal, (withdrawal, r, vs))
        );
        VM.prank(operator);
        odd.relayWithdrawal(withdrawal, r, vs);
        _wasLockedOut(money);
        VM.assertEq(money.balanceOf(alice), 500, "once");
        VM.assertEq(_money(alice), 490, "with its fee");
    }

    /* HELP */

    function _entries() private view returns (bytes[] memory entries) {
        IEnergyLedger.Withdrawal memory withdrawal;
        entries = new bytes[](13);
        entries[0] = abi.encodeCall(IEnergyLedger.cancelInterval, (START + 5 * INTERVAL_S));
        entries[1] = abi.encodeCall(IEnergyLedger.settleBatch, (START, 0, 0, new bytes(0)));
        entries[2] = abi.encodeCall(
            IEnergyLedger.correctInterval, (START, 1, 0, 0, new IEnergyLedger.CorrectionRow[](0))
        );
        entries[3] = abi.encodeCall(IEnergyLedger.depositFor, (alice, 1));
        entries[4] = abi.encodeCall(IEnergyLedger.depositWithPermit, (1, 0, 0, 0, 0));
        entries[5] =
            abi.encodeCall(IEnergyLedger.depositWithAuthorization, (alice, 1, 0, 0, 0, 0, 0, 0));
        entries[6] = abi.encodeCall(IEnergyLedger.requestWithdrawal, (1));
        entries[7] = abi.encodeCall(IEnergyLedger.requestWithdrawalFor, (withdrawal, 0, 0));
        entries[8] = abi.encodeCall(IEnergyLedger.collectFees, ());
        entries[9] = abi.encodeCall(IEnergyLedger.cancelIntervals, (START, 1));
        entries[10] = abi.encodeCall(IEnergyLedger.moveEnergy, (alice, bob, 0));
        entries[11] = abi.encodeCall(IEnergyLedger.mintEnergy, (alice, 0));
        entries[12] = abi.encodeCall(IEnergyLedger.burnEnergy, (alice, 0));
    }

    function _depositWith(OddToken money, uint256 amount) private {
        odd = newLedger(address(money));
        money.mint(address(this), 10 * amount);
        money.approve(address(odd), type(uint256).max);
        odd.deposit(amount);
    }

    function _askFor(uint256 moneyMicro) private {
        odd.requestWithdrawal(moneyMicro);
        VM.warp(block.timestamp + EXIT_DELAY_S);
    }

    function _money(address account) private view returns (uint256 moneyMicro) {
        (, moneyMicro,,,) = odd.accountOf(account);
    }

    function _wasLockedOut(CallbackToken money) private view {
        VM.assertEq(
            bytes32(bytes4(money.answer())),
            bytes32(bytes4(keccak256("ReentrancyGuardReentrantCall()"))),
            "the second entry was refused"
        );
    }
}

/// @dev Answers every call with nothing, but knows a balance.
contract SilentFallback {
    function balanceOf(address) external pure returns (uint256) {
        return 1e18;
    }

    fallback() external {}
}
