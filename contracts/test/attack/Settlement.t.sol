// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IEnergyLedger} from "../../src/interfaces/IEnergyLedger.sol";
import {Batches, TestOrder} from "../base/Batches.sol";
import {Consents} from "../base/Consents.sol";
import {LedgerTest} from "../base/LedgerTest.sol";
import {VM} from "../base/Vm.sol";

/// @title SettlementAttacks: what a member or the settler tries around a settlement
/// @dev What single rows try is in `unit/SettleRows.t.sol`, signatures are in `Signatures.t.sol`.
contract SettlementAttacks is LedgerTest {
    uint256 private constant DELEGATE = 0xDE1E;

    function setUp() public override {
        super.setUp();
        fund(alice);
        fund(bob);
    }

    /* MEMBERS */

    function testOneBadRowChangesNothing() external {
        uint256 poor = 0x9008;
        TestOrder[] memory orders = new TestOrder[](4);
        orders[0] = Batches.sell(ALICE, 2000, PRICE, PRICE);
        orders[0].meteredWh = 2100;
        orders[1] = Batches.buy(BOB, 1000, PRICE, PRICE);
        orders[2] = Batches.buy(poor, 500, PRICE, PRICE);
        orders[3] = Batches.buy(0x5E11, 500, PRICE, PRICE);
        fund(VM.addr(0x5E11));
        bytes32 before = _state();
        refused(
            START,
            orders,
            abi.encodeWithSelector(
                IEnergyLedger.AccountMoneyInsufficient.selector, VM.addr(poor), 0, 100_000
            )
        );
        VM.assertEq(_state(), before, "all or nothing");
        (orders[2], orders[3]) = (orders[3], Batches.buy(0x5E12, 500, PRICE, PRICE));
        fund(VM.addr(0x5E12));
        settle(START, orders); // the error named the account: the others settle without it
    }

    /// @dev Whoever wants its money between trade and settlement has to wait, and pays first.
    function testAWithdrawalJustBeforeSettlementWaits() external {
        VM.warp(START); // the trade is made, the delivery begins
        VM.startPrank(bob);
        ledger.requestWithdrawal(PURSE_MICRO);
        VM.expectPartialRevert(IEnergyLedger.WithdrawalTooEarly.selector);
        ledger.withdraw(PURSE_MICRO, bob);
        VM.stopPrank();
        VM.warp(START + INTERVAL_S);
        settle(START, trade(1000));
        VM.warp(START + EXIT_DELAY_S);
        VM.startPrank(bob);
        VM.expectRevert(
            abi.encodeWithSelector(
                IEnergyLedger.AccountMoneyInsufficient.selector,
                bob,
                PURSE_MICRO - 200_000,
                PURSE_MICRO
            )
        );
        ledger.withdraw(PURSE_MICRO, bob);
        ledger.withdraw(PURSE_MICRO - 200_000, bob);
    }

    /// @dev A request made in advance is no weapon either: it lapses.
    function testAStandingRequestBeatsNoSettlement() external {
        VM.prank(bob);
        ledger.requestWithdrawal(type(uint64).max);
        VM.warp(block.timestamp + EXIT_DELAY_S + 1 days + 1);
        VM.prank(bob);
        VM.expectPartialRevert(IEnergyLedger.WithdrawalLapsed.selector);
        ledger.withdraw(PURSE_MICRO, bob);
    }

    /// @dev Anybody may bring a signed withdrawal, but not past the settler's knowledge of debts.
    function testAMemberCannotRelayItselfPastTheDelay() external {
        refusedRelay(
            bob,
            BOB,
            wanted(bob, PURSE_MICRO),
            abi.encodeWithSelector(
                IEnergyLedger.WithdrawalNotRequested.selector, bob, 0, PURSE_MICRO
            )
        );
    }

    function testACancellationJustBeforeSettlementIsTooLate() external {
        VM.warp(START);
        VM.prank(bob);
        VM.expectRevert(abi.encodeWithSelector(IEnergyLedger.DeliveryBegun.selector, START));
        ledger.cancelInterval(START);
        VM.warp(START + INTERVAL_S);
        settle(START, trade(1000));
        VM.assertEq(moneyOf(bob), PURSE_MICRO - 200_000, "it pays");
    }

    function testARevocationJustBeforeSettlementIsTooLate() external {
        VM.prank(alice);
        ledger.setMandate(_mandate());
        VM.warp(START);
        VM.prank(alice);
        ledger.revokeMandate(VM.addr(DELEGATE));
        VM.warp(START + INTERVAL_S);
        settleRows(START, _delegatesSale());
        VM.assertEq(moneyOf(alice), PURSE_MICRO + 200_000, "its deliveries are settled");
    }

    /* THE SETTLER */

    function testADelegateSignsOrdersAndNothingElse() external {
        VM.prank(alice);
        ledger.setMandate(_mandate());
        bytes memory why = abi.encodeWithSelector(IEnergyLedger.SignatureInvalid.selector, alice);
        refusedRelay(operator, DELEGATE, wanted(alice, 1), why);
        IEnergyLedger.CorrectionRow[] memory rows = new IEnergyLedger.CorrectionRow[](1);
        rows[0].account = alice;
        rows[0].moneyMicro = -1;
        (rows[0].r, rows[0].vs) = Consents.correction(DELEGATE, ledger, START, 1, 0, rows[0]);
        VM.prank(operator);
        VM.expectRevert(why);
        ledger.correctInterval(START, 1, 0, 0, rows);
        IEnergyLedger.Mandate memory further = _mandate();
        further.delegate = bob;
        (bytes32 r, bytes32 vs) = Consents.mandate(DELEGATE, ledger, further);
        VM.expectRevert(why);
        ledger.setMandateFor(further, r, vs);
    }

    /// @dev What an account signed for one purpose is worth nothing for another.
    function testSignaturesKeepToTheirPurpose() external {
        bytes memory why = abi.encodeWithSelector(IEnergyLedger.SignatureInvalid.selector, alice);
        (bytes32 r, bytes32 vs) =
            Batches.compact(ALICE, digest(Batches.sell(ALICE, 1000, PRICE, PRICE)));
        IEnergyLedger.Withdrawal memory withdrawal = wanted(alice, 1);
        VM.prank(operator);
        VM.expectRevert(why);
        ledger.relayWithdrawal(withdrawal, r, vs);
        VM.expectRevert(why);
        ledger.setMandateFor(_mandate(), r, vs);
        (r, vs) = Consents.mandate(ALICE, ledger, _mandate());
        IEnergyLedger.CorrectionRow[] memory rows = new IEnergyLedger.CorrectionRow[](1);
        (rows[0].account, rows[0].moneyMicro, rows[0].r, rows[0].vs) = (alice, -1, r, vs);
        VM.prank(operator);
        VM.expectRevert(why);
        ledger.correctInterval(START, 1, 0, 0, rows);
    }

    /// @dev A correction is no second settlement: it revives no order, and takes nothing unsigned.
    function testASettledIntervalIsNotSettledByCorrection() external {
        settle(START, trade(1000));
        IEnergyLedger.CorrectionRow[] memory rows = new IEnergyLedger.CorrectionRow[](2);
        (address low, address high) = alice < bob ? (alice, bob) : (bob, alice);
        (rows[0].account, rows[1].account) = (low, high);
        rows[bob == low ? 0 : 1].moneyMicro = -200_000;
        rows[bob == low ? 1 : 0].moneyMicro = 200_000;
        TestOrder memory purchase = Batches.buy(BOB, 1000, PRICE, PRICE);
        (bytes32 r, bytes32 vs) = Batches.compact(BOB, digest(purchase));
        (rows[bob == low ? 0 : 1].r, rows[bob == low ? 0 : 1].vs) = (r, vs);
        VM.prank(operator);
        VM.expectRevert(abi.encodeWithSelector(IEnergyLedger.SignatureInvalid.selector, bob));
        ledger.correctInterval(START, 1, 0, 0, rows);
    }

    /// @dev The spread between what buyers pay and sellers get is bounded and never the settler's.
    function testTheSettlerCannotKeepTheSpread() external {
        TestOrder[] memory orders = trade(1000);
        orders[1].limit = PRICE_MAX;
        orders[1].value = PRICE + int64(uint64(FEE_MAX)) + 1;
        refused(
            START,
            orders,
            abi.encodeWithSelector(IEnergyLedger.BatchFeesTooHigh.selector, FEE_MAX + 1, 1000)
        );
        orders[1].value -= 1;
        settle(START, orders);
        VM.prank(operator);
        ledger.collectFees();
        VM.assertEq(moneyOf(operator), 0, "nothing for the settler");
        VM.assertEq(moneyOf(treasury), FEE_MAX, "all for the fee account");
    }

    function testNothingIsSettledAfterItsTime() external {
        VM.warp(START + INTERVAL_S + SETTLE_WITHIN_S + 1);
        bytes memory rows = Batches.pack(ledger, START, trade(10));
        (bool success, bytes memory why) = trySettle(START, rows);
        VM.assertFalse(success, "an old order");
        VM.assertEq(
            bytes32(bytes4(why)), bytes32(IEnergyLedger.DeliveryTooLongAgo.selector), "too old"
        );
    }

    /// @dev The type's largest amounts overflow no field of a word into the next.
    function testNoFieldOverflowsIntoTheNext() external {
        VM.prank(address(token));
        ledger.mintEnergy(alice, type(uint40).max - 1);
        fund(alice, type(uint64).max - PURSE_MICRO - 200_000);
        flag(alice, 0xfc);
        settle(START, trade(1000));
        (uint256 energyWh, uint256 moneyMicro, uint256 latest, uint256 used, uint256 flags) =
            ledger.accountOf(alice);
        VM.assertEq(energyWh, type(uint40).max - 1, "energy");
        VM.assertEq(moneyMicro, type(uint64).max, "money, to the last unit");
        VM.assertEq(latest << 96 | used, 10 << 96 | 1, "window");
        VM.assertEq(flags, 0xfc, "flags");
        TestOrder[] memory orders = trade(1000);
        (orders[0].limit, orders[0].value) = (0, 1);
        orders[1].value = 1;
        VM.warp(START + 2 * INTERVAL_S);
        refused(
            START + INTERVAL_S,
            orders,
            abi.encodeWithSelector(IEnergyLedger.AccountOverflow.selector, alice)
        );
        orders[0].value = orders[1].value = 0;
        orders[0].meteredWh = 1002;
        refused(
            START + INTERVAL_S,
            orders,
            abi.encodeWithSignature(
                "SafeCastOverflowedUintDowncast(uint8,uint256)", 40, uint256(2 ** 40)
            )
        );
    }

    /* HELP */

    function _mandate() private view returns (IEnergyLedger.Mandate memory) {
        return IEnergyLedger.Mandate(
            alice, VM.addr(DELEGATE), 0, type(uint40).max, 1000, type(int64).max, type(int64).min
        );
    }

    function _delegatesSale() private view returns (bytes memory) {
        TestOrder memory sale = Batches.sell(ALICE, 1000, PRICE, PRICE);
        return Batches.join(
            Batches.rowBy(DELEGATE, ledger, START, alice, sale),
            Batches.row(ledger, START, Batches.buy(BOB, 1000, PRICE, PRICE))
        );
    }

    function _state() private view returns (bytes32 seen) {
        address[5] memory accounts = [alice, bob, VM.addr(0x9008), VM.addr(0x5E11), address(ledger)];
        for (uint256 i; i < 5; ++i) {
            (uint256 energyWh, uint256 moneyMicro, uint256 latest, uint256 used,) =
                ledger.accountOf(accounts[i]);
            seen = keccak256(abi.encode(seen, energyWh, moneyMicro, latest, used));
        }
        return keccak256(abi.encode(seen, ledger.energyWhTotal(), ledger.feesMicro()));
    }
}
