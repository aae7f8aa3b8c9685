// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IEnergyLedger} from "../../src/interfaces/IEnergyLedger.sol";
import {Batches, TestOrder} from "../base/Batches.sol";
import {LedgerTest} from "../base/LedgerTest.sol";
import {VM} from "../base/Vm.sol";

/// @title SettleBatchTest: what a batch does, when, for whom, how often, and that it balances
contract SettleBatchTest is LedgerTest {
    bytes32 private judged;
    bytes4 private verdict;
    bytes private insideCall;
    bytes private insideAnswer;

    function setUp() public override {
        super.setUp();
        fund(alice);
        fund(bob);
        fund(carol);
    }

    /// @dev What the ledger calls when this test is its compliance contract.
    function afterBatch(uint64 start, bytes calldata rows) external {
        judged = keccak256(abi.encode(msg.sender, start, rows));
        if (insideCall.length != 0) (, insideAnswer) = address(ledger).call(insideCall);
        bytes4 why = verdict;
        if (why != 0) {
            assembly ("memory-safe") {
                mstore(0, why)
                revert(0, 4)
            }
        }
    }

    /* WHAT IT DOES */

    function testMovesEnergyAndMoney() external {
        TestOrder[] memory orders = trade(1500);
        orders[0].meteredWh = 2000;
        orders[1].meteredWh = 1200;
        settle(START, orders);
        VM.assertEq(moneyOf(alice), PURSE_MICRO + 300_000, "1.5 kWh at 0.20");
        VM.assertEq(moneyOf(bob), PURSE_MICRO - 300_000, "the buyer paid it");
        VM.assertEq(energyOf(alice), 500, "produced and not sold");
        VM.assertEq(energyOf(bob), 300, "bought and not used");
        VM.assertEq(ledger.energyWhTotal(), 800, "minted less burned");
        VM.assertEq(ledger.feesMicro(), 0, "nothing kept");
    }

    function testMarksTheInterval() external {
        settle(START, trade(1));
        VM.assertEq(latestOf(alice), 10, "interval 10");
        VM.assertEq(usedOf(alice), 1, "and no other");
    }

    function testLeavesFlagsAsTheyAre() external {
        flag(alice, 0xfe & ~uint8(2));
        settle(START, trade(1));
        (,,,, uint256 flags) = ledger.accountOf(alice);
        VM.assertEq(flags, 0xfc, "flags that forbid no sale");
    }

    function testEmitsRootsAndSums() external {
        TestOrder[] memory orders = trade(1500);
        orders[0].meteredWh = 2000;
        orders[1].meteredWh = 1200;
        orders[1].limit += 1000;
        orders[1].value += 700;
        bytes memory rows = Batches.pack(ledger, START, orders);
        VM.expectEmit(address(ledger));
        emit IEnergyLedger.BatchSettled(
            START, keccak256(rows), "readings", "receipts", sums(300_700, 1500, 2000, 1200, 700)
        );
        settleRows(START, rows);
    }

    function testSeveralOrdersOfOneAccount() external {
        TestOrder[] memory orders = new TestOrder[](4);
        orders[0] = Batches.sell(ALICE, 700, PRICE, PRICE);
        orders[1] = Batches.sell(ALICE, 300, PRICE, PRICE);
        orders[1].terms = "another order";
        orders[2] = Batches.buy(BOB, 600, PRICE, PRICE);
        orders[3] = Batches.buy(CAROL, 400, PRICE, PRICE);
        settle(START, orders);
        VM.assertEq(moneyOf(alice), PURSE_MICRO + 200_000, "both sales");
        VM.assertEq(moneyOf(bob), PURSE_MICRO - 120_000, "bob's share");
        VM.assertEq(moneyOf(carol), PURSE_MICRO - 80_000, "carol's share");
    }

    function testAnAccountMayBuyAndSell() external {
        TestOrder[] memory orders = new TestOrder[](4);
        orders[0] = Batches.sell(ALICE, 700, PRICE, PRICE);
        orders[1] = Batches.buy(ALICE, 300, PRICE, PRICE);
        orders[2] = Batches.buy(BOB, 700, PRICE, PRICE);
        orders[3] = Batches.sell(CAROL, 300, PRICE, PRICE);
        settle(START, orders);
        VM.assertEq(moneyOf(alice), PURSE_MICRO + 80_000, "sold 140000, bought 60000");
    }

    function testPartialExecution() external {
        TestOrder[] memory orders = trade(1500);
        orders[0].signedWh = 9000;
        orders[1].signedWh = 1501;
        settle(START, orders);
        VM.assertEq(moneyOf(bob), PURSE_MICRO - 300_000, "only what was executed");
    }

    function testMarketOrdersKeepToThePriceBand() external {
        TestOrder[] memory orders = trade(1000);
        orders[0].limit = -type(int64).max;
        orders[1].limit = type(int64).max;
        (orders[0].value, orders[1].value) = (PRICE_MAX, PRICE_MAX);
        settle(START, orders);
        VM.assertEq(moneyOf(alice), PURSE_MICRO + 1_000_000, "the highest price");
    }

    function testNegativePricePaysTheBuyer() external {
        int64 price = -40_000;
        TestOrder[] memory orders =
            pair(Batches.sell(ALICE, 1000, price, price), Batches.buy(BOB, 1000, price, price));
        VM.expectEmit(address(ledger));
        emit IEnergyLedger.BatchSettled(
            START,
            keccak256(Batches.pack(ledger, START, orders)),
            "readings",
            "receipts",
            sums(-40_000, 1000, 1000, 1000, 0)
        );
        settle(START, orders);
        VM.assertEq(moneyOf(alice), PURSE_MICRO - 40_000, "the seller pays");
        VM.assertEq(moneyOf(bob), PURSE_MICRO + 40_000, "the buyer receives");
    }

    function testSellersNeedNoDeposit() external {
        TestOrder[] memory orders =
            pair(Batches.sell(0x5E11, 1000, PRICE, PRICE), Batches.buy(BOB, 1000, PRICE, PRICE));
        settle(START, orders);
        VM.assertEq(moneyOf(VM.addr(0x5E11)), 200_000, "earned");
    }

    function testOneIntervalOfDifferentAccountsInTwoBatches() external {
        settle(START, trade(1000));
        fund(VM.addr(0x5E11));
        settle(
            START,
            pair(Batches.sell(0x5E11, 500, PRICE, PRICE), Batches.buy(CAROL, 500, PRICE, PRICE))
        );
        VM.assertEq(moneyOf(carol), PURSE_MICRO - 100_000, "the second batch");
    }

    /* FEES */

    function testFeesGoToThePot() external {
        settle(START, _withFee(500));
        VM.assertEq(moneyOf(alice), PURSE_MICRO + 200_000, "the seller's price");
        VM.assertEq(moneyOf(bob), PURSE_MICRO - 200_500, "the buyer's, with the fee");
        VM.assertEq(ledger.feesMicro(), 500, "the pot's");
        VM.warp(START + 2 * INTERVAL_S);
        settle(START + INTERVAL_S, _withFee(70));
        VM.assertEq(ledger.feesMicro(), 570, "and more");
    }

    function testFeesHoldToTheirMaximum() external {
        refused(
            START,
            _withFee(int64(uint64(FEE_MAX)) + 1),
            abi.encodeWithSelector(IEnergyLedger.BatchFeesTooHigh.selector, FEE_MAX + 1, 1000)
        );
        settle(START, _withFee(int64(uint64(FEE_MAX))));
        VM.assertEq(ledger.feesMicro(), FEE_MAX, "the most for 1 kWh");
    }

    function testNoFeeForEnergyThatWasNotTraded() external {
        TestOrder[] memory orders = _withFee(100);
        orders[0].executedWh = orders[1].executedWh = 0;
        orders[0].shortWh = orders[1].shortWh = 1000;
        orders[0].meteredWh = orders[1].meteredWh = 0;
        (orders[0].value, orders[1].value) = (0, 1);
        refused(
            START, orders, abi.encodeWithSelector(IEnergyLedger.BatchFeesTooHigh.selector, 1, 0)
        );
    }

    /* WHO AND WHEN */

    function testRefusesOthersThanTheSettler() external {
        bytes memory rows = Batches.pack(ledger, START, trade(1));
        VM.expectRevert(abi.encodeWithSelector(IEnergyLedger.SettlerOnly.selector, address(this)));
        ledger.settleBatch(START, 0, 0, rows);
        VM.prank(bob);
        VM.expectRevert(abi.encodeWithSelector(IEnergyLedger.SettlerOnly.selector, bob));
        ledger.settleBatch(START, 0, 0, rows);
    }

    function testRefusesWhilePaused() external {
        pause(true);
        refused(START, trade(1), abi.encodeWithSelector(IEnergyLedger.TradingPaused.selector));
        pause(false);
        settle(START, trade(1));
    }

    function testRefusesBeforeTheDeliveryIsOver() external {
        uint64 next = START + INTERVAL_S;
        VM.warp(next + INTERVAL_S - 1);
        refused(
            next,
            trade(1),
            abi.encodeWithSelector(IEnergyLedger.DeliveryNotOver.selector, next, next + INTERVAL_S)
        );
        VM.warp(next + INTERVAL_S);
        settle(next, trade(1));
    }

    function testRefusesADeliveryTooLongAgo() external {
        uint64 until = START + INTERVAL_S + SETTLE_WITHIN_S;
        VM.warp(until + 1);
        refused(
            START,
            trade(1),
            abi.encodeWithSelector(IEnergyLedger.DeliveryTooLongAgo.selector, START, until)
        );
        VM.warp(until);
        settle(START, trade(1));
    }

    function testRefusesAMisalignedInterval() external {
        refused(
            START - 1,
            trade(1),
            abi.encodeWithSelector(IEnergyLedger.DeliveryMisaligned.selector, START - 1)
        );
    }

    function testRefusesAnIntervalBeforeGenesis() external {
        refused(
            GENESIS - INTERVAL_S,
            trade(1),
            abi.encodeWithSelector(IEnergyLedger.DeliveryOutOfRange.selector, GENESIS - INTERVAL_S)
        );
        VM.warp(GENESIS + INTERVAL_S);
        settle(GENESIS, trade(1));
        VM.assertEq(latestOf(alice), 0, "interval 0");
        VM.assertEq(usedOf(alice), 1, "is used");
        refused(GENESIS, trade(1), byFirst(IEnergyLedger.AccountIntervalUsed.selector));
    }

    function testRefusesAnIntervalAfterTheLast() external {
        uint64 last = GENESIS + uint64(type(uint24).max) * INTERVAL_S;
        VM.warp(last + 2 * INTERVAL_S);
        settle(last, trade(1));
        VM.assertEq(latestOf(alice), type(uint24).max, "the last interval");
        refused(
            last + INTERVAL_S,
            trade(1),
            abi.encodeWithSelector(IEnergyLedger.DeliveryOutOfRange.selector, last + INTERVAL_S)
        );
    }

    /* REPLAY */

    function testRefusesAUsedInterval() external {
        settle(START, trade(1));
        refused(START, trade(1), byFirst(IEnergyLedger.AccountIntervalUsed.selector));
    }

    function testIntervalsInAnyOrderWithinTheWindow() external {
        settle(START, trade(1000));
        settle(START - 3 * INTERVAL_S, trade(1000));
        VM.assertEq(latestOf(bob), 10, "still the latest");
        VM.assertEq(usedOf(bob), 1 << 3 | 1, "both intervals");
        refused(
            START - 3 * INTERVAL_S, trade(1000), byFirst(IEnergyLedger.AccountIntervalUsed.selector)
        );
    }

    function testTheWindowReaches95IntervalsBack() external {
        uint64 later = START + 95 * INTERVAL_S;
        VM.warp(later + INTERVAL_S);
        settle(later, trade(1));
        settle(START, trade(1));
        VM.assertEq(usedOf(alice), 1 << 95 | 1, "the window's both ends");
        refused(
            START - INTERVAL_S,
            trade(1),
            abi.encodeWithSelector(IEnergyLedger.AccountIntervalPassed.selector, first(), 10 + 95)
        );
    }

    function testTheWindowMovesOnAndKeepsWhatIsInIt() external {
        VM.warp(START + 200 * INTERVAL_S);
        settle(START, trade(1));
        settle(START + 95 * INTERVAL_S, trade(1));
        VM.assertEq(usedOf(alice), 1 << 95 | 1, "moved by 95: the first is the last bit");
        refused(START, trade(1), byFirst(IEnergyLedger.AccountIntervalUsed.selector));
        settle(START + 96 * INTERVAL_S, trade(1));
        VM.assertEq(usedOf(alice), 3, "moved by one: the first fell out");
        refused(
            START,
            trade(1),
            abi.encodeWithSelector(IEnergyLedger.AccountIntervalPassed.selector, first(), 10 + 96)
        );
        settle(START + 192 * INTERVAL_S, trade(1));
        VM.assertEq(usedOf(alice), 1, "moved by its whole length: empty but for the new one");
        VM.assertEq(latestOf(alice), 10 + 192, "which is the latest");
    }

    function testALongPauseEmptiesTheWindow() external {
        VM.warp(START + 1000 * INTERVAL_S);
        settle(START, trade(1));
        // 256 and more: what a shift would drop, or wrap around
        settle(START + 256 * INTERVAL_S, trade(1));
        VM.assertEq(usedOf(alice), 1, "only the new one");
        settle(START + 900 * INTERVAL_S, trade(1));
        VM.assertEq(usedOf(alice), 1, "only the newest");
    }

    function testRefusesAnOrderTwiceInOneBatch() external {
        bytes memory sale = Batches.row(ledger, START, Batches.sell(ALICE, 10, PRICE, PRICE));
        refusedRows(
            bytes.concat(sale, sale),
            abi.encodeWithSelector(
                IEnergyLedger.RowOrderNotAscending.selector,
                alice,
                digest(Batches.sell(ALICE, 10, PRICE, PRICE))
            )
        );
    }

    function testRefusesAccountsThatFall() external {
        TestOrder[] memory orders = trade(10);
        Batches.sort(ledger, START, orders);
        refusedRows(
            bytes.concat(
                Batches.row(ledger, START, orders[1]), Batches.row(ledger, START, orders[0])
            ),
            byFirst(IEnergyLedger.RowAccountNotAscending.selector)
        );
    }

    function testRefusesAnAccountTwiceInOneBatch() external {
        TestOrder[] memory orders = trade(10);
        Batches.sort(ledger, START, orders);
        TestOrder memory again = Batches.sell(orders[0].key, 10, PRICE, PRICE);
        again.terms = "again";
        refusedRows(
            bytes.concat(Batches.pack(ledger, START, orders), Batches.row(ledger, START, again)),
            abi.encodeWithSelector(
                IEnergyLedger.RowAccountNotAscending.selector, VM.addr(orders[0].key)
            )
        );
    }

    /* THE WHOLE */

    function testBothSidesEnergyMustMatch() external {
        TestOrder[] memory orders = trade(1500);
        orders[1].limit = PRICE + 1000;
        orders[1].executedWh = 1499;
        orders[1].meteredWh = 1499;
        refused(START, orders, _unbalanced(1, 0));
        orders = trade(1500);
        orders[0].executedWh = orders[0].meteredWh = 1499;
        refused(START, orders, _unbalanced(-1, 0));
    }

    function testReceivedMustHaveBeenPaid() external {
        TestOrder[] memory orders = trade(1500);
        orders[1].value -= 1;
        refused(START, orders, _unbalanced(0, 1));
    }

    function testSumsBeyondTheEventAreRefused() external {
        IEnergyLedger.Terms memory terms = termsOf(address(currency));
        terms.meteredMaxWh = type(uint48).max;
        ledger = newLedger(terms);
        TestOrder[] memory orders = new TestOrder[](4);
        for (uint256 i; i < 4; ++i) {
            uint256 key = 0x5E11 + i;
            orders[i] = i < 2
                ? Batches.sell(key, type(uint48).max, 0, 0)
                : Batches.buy(key, type(uint48).max, 0, 0);
        }
        refused(
            START,
            orders,
            abi.encodeWithSignature(
                "SafeCastOverflowedUintDowncast(uint8,uint256)", 48, 2 * uint256(type(uint48).max)
            )
        );
        settle(START, pair(orders[1], orders[2]));
        VM.assertEq(latestOf(VM.addr(orders[1].key)), 10, "one of them fits");
    }

    function testRefusesOddLengths() external {
        refusedRows("", abi.encodeWithSelector(IEnergyLedger.BatchLengthInvalid.selector, 0));
        bytes memory rows = Batches.pack(ledger, START, trade(1));
        refusedRows(
            bytes.concat(rows, hex"00"),
            abi.encodeWithSelector(IEnergyLedger.BatchLengthInvalid.selector, 319)
        );
        assembly ("memory-safe") {
            mstore(rows, 317)
        }
        refusedRows(rows, abi.encodeWithSelector(IEnergyLedger.BatchLengthInvalid.selector, 317));
    }

    /* THE MARKET'S RULES */

    function testBatchRulesAreToldTheRows() external {
        bytes memory rows = Batches.pack(ledger, START, trade(10));
        ledger.setCompliance(address(this), true);
        VM.assertTrue(ledger.batchRules(), "on");
        settleRows(START, rows);
        VM.assertEq(judged, keccak256(abi.encode(address(ledger), START, rows)), "as settled");
    }

    function testWithoutBatchRulesNobodyIsAsked() external {
        ledger.setCompliance(address(this), false);
        settle(START, trade(10));
        VM.assertEq(judged, bytes32(0), "not asked");
    }

    function testABrokenRuleRefusesTheBatch() external {
        ledger.setCompliance(address(this), true);
        verdict = 0xBADBADBA;
        refused(START, trade(10), abi.encodePacked(verdict));
        VM.assertEq(moneyOf(alice), PURSE_MICRO, "nothing moved");
    }

    function testRulesCannotEnterAgain() external {
        ledger.setCompliance(address(this), true);
        insideCall = abi.encodeCall(IEnergyLedger.cancelInterval, (START + 2 * INTERVAL_S));
        settle(START, trade(10));
        VM.assertEq(
            bytes32(bytes4(insideAnswer)),
            bytes32(bytes4(keccak256("ReentrancyGuardReentrantCall()"))),
            "the second entry was refused"
        );
    }

    function testRulesMayFlagAfterABatch() external {
        ledger.setCompliance(address(this), true);
        insideCall = abi.encodeCall(IEnergyLedger.setAccountFlags, (alice, 1));
        settle(START, trade(10));
        (,,,, uint256 flags) = ledger.accountOf(alice);
        VM.assertEq(flags, 1, "flagged from within");
        VM.assertEq(moneyOf(alice), PURSE_MICRO + 2000, "and paid for what was settled");
    }

    /* HELP */

    /// @dev One kWh, for which Bob pays a fee on top.
    function _withFee(int64 feeMicro) private pure returns (TestOrder[] memory orders) {
        orders = trade(1000);
        orders[1].limit += feeMicro;
        orders[1].value += feeMicro;
    }

    function _unbalanced(int256 energyWh, int256 moneyMicro) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IEnergyLedger.BatchUnbalanced.selector, energyWh, moneyMicro);
    }
}
