// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IP2PTrading} from "../../src/interfaces/IP2PTrading.sol";
import {Community} from "../base/Community.sol";
import {Meters} from "../base/Meters.sol";
import {TradingCommunity} from "../base/TradingCommunity.sol";
import {VM} from "../base/Vm.sol";

/// @title TradingMeters: sellers that show what they did not deliver, and meters that change meanwhile
contract TradingMeters is TradingCommunity, Meters {
    uint256 private constant NEXT_METER = 0x3E7E3;
    uint256 private constant LAST_METER = 0x3E7E4;
    uint256 private constant KEYS_A_CALL = 4;

    function setUp() public override(Community, TradingCommunity) {
        TradingCommunity.setUp();
        read(METER, block.timestamp, 1, 5000);
    }

    /* WHAT WAS PRODUCED BEFORE */

    /// @dev One second more than a delivery interval old is too old; the interval itself is not.
    function testTheStartIsNoOlderThanAnInterval() external {
        offer(trading);
        uint256 start = VM.snapshotState();
        for (uint256 age = INTERVAL_S - 1; age <= INTERVAL_S + 1; ++age) {
            VM.revertToState(start);
            VM.warp(block.timestamp + age);
            take(trading, 0);
            VM.warp(block.timestamp + 1 hours);
            read(METER, block.timestamp, 2, 7000);
            trading.settleTrade(1);
            bool completed = trading.tradeOf(1).completed;
            VM.assertTrue(
                completed == (age <= INTERVAL_S), "what was produced before is no delivery"
            );
        }
    }

    /// @dev The seller holds back what its meter showed before the match.
    function testAReadingHeldBackIsNoStart() external {
        VM.warp(block.timestamp + INTERVAL_S + 1);
        offer(trading);
        uint256 before = block.timestamp;
        VM.warp(before + 600);
        take(trading, 0);
        read(METER, before, 2, 6000);
        VM.expectRevert(abi.encodeWithSelector(IP2PTrading.DeliveryNotShown.selector, 1));
        trading.settleTrade(1);
        later(3, 7000);
        trading.settleTrade(1);
        isIn(trading, 1, IP2PTrading.Stage.Matched);
        later(4, 9000);
        trading.settleTrade(1);
        isIn(trading, 1, IP2PTrading.Stage.Completed);
    }

    function testTheStartStaysWhereItIs() external {
        offer(trading);
        take(trading, 0);
        later(2, 6000);
        VM.expectRevert(abi.encodeWithSelector(IP2PTrading.DeliveryNotShown.selector, 1));
        trading.settleTrade(1); // would be a later start
        later(3, 7000);
        trading.settleTrade(1);
        isIn(trading, 1, IP2PTrading.Stage.Completed);
    }

    function testPartsShareNoDelivery() external {
        offer(trading);
        takePart(trading, AMOUNT / 2);
        takePart(trading, AMOUNT / 2);
        later(2, 6999);
        trading.settleTrade(1);
        VM.expectRevert(abi.encodeWithSelector(IP2PTrading.DeliveryNotShown.selector, 2));
        trading.settleTrade(2);
        later(3, 7000);
        trading.settleTrade(2);
        isIn(trading, 2, IP2PTrading.Stage.Completed);
    }

    /* METERS THAT ARE NOT TRUSTED ANY MORE */

    function testARevokedMeterShowsNothing() external {
        offer(trading);
        take(trading, 0);
        later(2, 7000);
        VM.prank(operator);
        registry.revokeMeter(deviceOf(METER));
        _isNotShown();
        VM.warp(block.timestamp + SETTLEMENT_PERIOD_S);
        trading.refundTrade(1);
        VM.assertEq(currency.balanceOf(bob), PURSE_MICRO, "the buyer is refunded");
    }

    function testASuspendedMeterShowsNothing() external {
        offer(trading);
        take(trading, 0);
        later(2, 7000);
        suspend(deviceOf(METER));
        _isNotShown();
    }

    /// @dev The suspended key may have lifted the register on which the next one stands.
    function testAKeyAfterASuspensionStartsAnew() external {
        offer(trading);
        take(trading, 0);
        later(2, 7000);
        suspend(deviceOf(METER));
        rotate(METER, NEXT_METER, ALICE);
        VM.expectEmit(address(trading));
        emit IP2PTrading.DeliveryStarted(1, 7000);
        trading.settleTrade(1);
        isIn(trading, 1, IP2PTrading.Stage.Matched);
        VM.warp(block.timestamp + 1 hours);
        read(NEXT_METER, block.timestamp, 1, 9000);
        trading.settleTrade(1);
        isIn(trading, 1, IP2PTrading.Stage.Completed);
    }

    /* METERS WITH ANOTHER KEY */

    function testANextKeyGoesOnForTheOldOne() external {
        offer(trading);
        take(trading, 0);
        later(2, 6000);
        rotate(METER, NEXT_METER, ALICE);
        rotate(NEXT_METER, LAST_METER, ALICE);
        _isNotShown();
        VM.warp(block.timestamp + 1 hours);
        read(LAST_METER, block.timestamp, 1, 7000);
        VM.expectEmit(address(trading));
        emit IP2PTrading.MeterFollowed(1, deviceOf(NEXT_METER));
        VM.expectEmit(address(trading));
        emit IP2PTrading.MeterFollowed(1, deviceOf(LAST_METER));
        trading.settleTrade(1);
        isIn(trading, 1, IP2PTrading.Stage.Completed);
    }

    /// @dev An offer made under the old key, matched under the next one.
    function testAMatchStartsAtTheNextKey() external {
        offer(trading);
        rotate(METER, NEXT_METER, ALICE);
        VM.warp(block.timestamp + 10 minutes);
        read(NEXT_METER, block.timestamp, 1, 6000);
        VM.expectEmit(address(trading));
        emit IP2PTrading.DeliveryStarted(1, 6000);
        take(trading, 0);
    }

    function testARefundLooksAtTheNextKeyToo() external {
        offer(trading);
        take(trading, 0);
        rotate(METER, NEXT_METER, ALICE);
        VM.warp(block.timestamp + SETTLEMENT_PERIOD_S);
        read(NEXT_METER, block.timestamp, 1, 7000);
        VM.expectRevert(abi.encodeWithSelector(IP2PTrading.DeliveryWasShown.selector, 1));
        trading.refundTrade(1);
    }

    /// @dev Two trades started under the old key; one was settled before it was replaced, one after.
    function testAnotherKeySellsNoDeliveryTwice() external {
        offer(trading);
        takePart(trading, AMOUNT / 2);
        take(trading, 0);
        later(2, 6000);
        trading.settleTrade(1);
        rotate(METER, NEXT_METER, ALICE);
        VM.expectRevert(abi.encodeWithSelector(IP2PTrading.DeliveryNotShown.selector, 2));
        trading.settleTrade(2);
        VM.warp(block.timestamp + 1 hours);
        read(NEXT_METER, block.timestamp, 1, 6999);
        VM.expectRevert(abi.encodeWithSelector(IP2PTrading.DeliveryNotShown.selector, 2));
        trading.settleTrade(2);
        VM.warp(block.timestamp + 1 hours);
        read(NEXT_METER, block.timestamp, 2, 7000);
        trading.settleTrade(2);
        isIn(trading, 2, IP2PTrading.Stage.Completed);
    }

    /// @dev The trade of the next key is settled first; then that of the old key follows it.
    function testFollowingForgetsNoSale() external {
        offer(trading, AMOUNT / 2);
        take(trading, 0);
        later(2, 5001);
        rotate(METER, NEXT_METER, ALICE);
        offer(trading, AMOUNT / 2); // under the next key
        VM.prank(bob);
        trading.matchOrder(2);
        VM.warp(block.timestamp + 1 hours);
        read(NEXT_METER, block.timestamp, 1, 6500);
        trading.settleTrade(2); // sells 5001 to 6001
        _isNotShown();
        VM.warp(block.timestamp + 1 hours);
        read(NEXT_METER, block.timestamp, 2, 7000);
        _isNotShown();
        VM.warp(block.timestamp + 1 hours);
        read(NEXT_METER, block.timestamp, 3, 7001);
        trading.settleTrade(1);
        isIn(trading, 1, IP2PTrading.Stage.Completed);
    }

    /* MORE KEYS THAN A CALL FOLLOWS */

    function testACallFollowsSeveralKeys() external {
        offer(trading);
        take(trading, 0);
        _laterBy(_rotateTimes(KEYS_A_CALL), 1, 7000);
        VM.warp(block.timestamp + SETTLEMENT_PERIOD_S);
        VM.expectRevert(abi.encodeWithSelector(IP2PTrading.DeliveryWasShown.selector, 1));
        trading.refundTrade(1);
        trading.settleTrade(1);
        isIn(trading, 1, IP2PTrading.Stage.Completed);
    }

    /// @dev The buyer would have its payment back, and the seller has delivered.
    function testKeysNotFollowedYetAllowNoRefund() external {
        offer(trading);
        take(trading, 0);
        _laterBy(_rotateTimes(2 * KEYS_A_CALL + 1), 1, 7000);
        VM.warp(block.timestamp + SETTLEMENT_PERIOD_S);
        for (uint256 call; call < 2; ++call) {
            VM.prank(bob);
            VM.expectRevert(abi.encodeWithSelector(IP2PTrading.MeterNotFollowed.selector, 1));
            trading.refundTrade(1);
            VM.prank(carol);
            trading.settleTrade(1); // anyone's call goes on to the next keys
            isIn(trading, 1, IP2PTrading.Stage.Matched);
        }
        VM.expectRevert(abi.encodeWithSelector(IP2PTrading.DeliveryWasShown.selector, 1));
        trading.refundTrade(1);
        trading.settleTrade(1);
        isIn(trading, 1, IP2PTrading.Stage.Completed);
    }

    /// @dev Nor do they keep anything back for ever.
    function testManyKeysHoldUpNoRefund() external {
        offer(trading);
        take(trading, 0);
        _laterBy(_rotateTimes(KEYS_A_CALL + 1), 1, 6999);
        VM.warp(block.timestamp + SETTLEMENT_PERIOD_S);
        VM.prank(carol);
        trading.settleTrade(1);
        trading.refundTrade(1);
        isIn(trading, 1, IP2PTrading.Stage.Closed);
        VM.assertEq(currency.balanceOf(bob), PURSE_MICRO, "the buyer is refunded");
    }

    function testBothPartiesSettleBehindManyKeys() external {
        offer(trading);
        take(trading, 0);
        _rotateTimes(3 * KEYS_A_CALL);
        bothSettle(trading, 1);
        isIn(trading, 1, IP2PTrading.Stage.Completed);
    }

    /// @dev What a key between showed may be long surpassed.
    function testNoDeliveryStartsAtAKeyBetween() external {
        offer(trading);
        uint256 lastKey = _rotateTimes(KEYS_A_CALL + 1);
        VM.warp(block.timestamp + 5 minutes);
        read(lastKey, block.timestamp, 1, 5800);
        VM.warp(block.timestamp + 5 minutes);
        take(trading, 0);
        _isNotShown();
        _laterBy(lastKey, 2, 7500);
        VM.expectEmit(address(trading));
        emit IP2PTrading.DeliveryStarted(1, 7500);
        trading.settleTrade(1);
        isIn(trading, 1, IP2PTrading.Stage.Matched);
    }

    /* METERS THAT WERE RESET */

    function testAResetMeterStartsAnew() external {
        offer(trading);
        take(trading, 0);
        _reset(2, 100);
        VM.expectEmit(address(trading));
        emit IP2PTrading.DeliveryStarted(1, 100);
        trading.settleTrade(1);
        later(3, 2099);
        _isNotShown();
        later(4, 2100);
        trading.settleTrade(1);
        isIn(trading, 1, IP2PTrading.Stage.Completed);
    }

    /// @dev What was sold of the old registers does not stand in the way of the new ones.
    function testAResetMeterSellsAgainButNothingTwice() external {
        VM.prank(alice);
        trading.createSellOrder(AMOUNT, PRICE_PER_KWH, 1 days);
        takePart(trading, AMOUNT / 2);
        later(2, 6000);
        trading.settleTrade(2);
        _reset(3, 0);
        takePart(trading, AMOUNT / 4);
        VM.prank(bob);
        trading.matchOrder(1);
        later(4, 500);
        trading.settleTrade(3);
        VM.expectRevert(abi.encodeWithSelector(IP2PTrading.DeliveryNotShown.selector, 1));
        trading.settleTrade(1);
        later(5, 1000);
        trading.settleTrade(1);
        isIn(trading, 1, IP2PTrading.Stage.Completed);
    }

    /// @dev All there is was sold; a register set back by 1 Wh does not make it unsold.
    function testASmallResetSellsNothingTwice() external {
        offer(trading);
        takePart(trading, AMOUNT * 3 / 4);
        take(trading, 0);
        later(2, 6500);
        trading.settleTrade(2); // sells 5000 to 6500
        _reset(3, 6499);
        VM.expectEmit(address(trading));
        emit IP2PTrading.DeliveryStarted(1, 6499);
        trading.settleTrade(1);
        isIn(trading, 1, IP2PTrading.Stage.Matched);
        later(4, 6998);
        _isNotShown();
        later(5, 6999);
        trading.settleTrade(1);
        isIn(trading, 1, IP2PTrading.Stage.Completed);
    }

    /// @dev Nor does a reset to the very register, which only begins an epoch.
    function testAResetToItsOwnRegisterSellsNothingTwice() external {
        offer(trading);
        takePart(trading, AMOUNT / 2);
        take(trading, 0);
        later(2, 6000);
        trading.settleTrade(2); // sells 5000 to 6000
        _reset(3, 6000);
        trading.settleTrade(1);
        later(4, 6999);
        _isNotShown();
        later(5, 7000);
        trading.settleTrade(1);
        isIn(trading, 1, IP2PTrading.Stage.Completed);
    }

    /// @dev The registers have passed the old start again, but not by what they counted from it on.
    function testAStartOfBeforeAResetShowsNothing() external {
        offer(trading);
        take(trading, 0);
        _reset(2, 4000);
        later(3, 7000);
        VM.warp(block.timestamp + SETTLEMENT_PERIOD_S);
        uint256 start = VM.snapshotState();
        VM.expectEmit(address(trading));
        emit IP2PTrading.DeliveryStarted(1, 7000);
        trading.settleTrade(1);
        isIn(trading, 1, IP2PTrading.Stage.Matched);
        VM.revertToState(start);
        trading.refundTrade(1);
        isIn(trading, 1, IP2PTrading.Stage.Closed);
    }

    /// @dev A trade of the key before the reset follows late: what it brings along of the old registers
    /// makes nothing unsold of the new ones.
    function testALateFollowerSellsNothingTwice() external {
        offer(trading, AMOUNT / 2);
        takePart(trading, AMOUNT / 4);
        take(trading, 0);
        later(2, 5500);
        trading.settleTrade(2); // sells 5000 to 5500
        rotate(METER, NEXT_METER, ALICE);
        _reset(NEXT_METER, 1, 0);
        offer(trading, AMOUNT / 4);
        offer(trading, AMOUNT / 4);
        VM.startPrank(bob);
        trading.matchOrder(3);
        trading.matchOrder(4); // both start at 0
        VM.stopPrank();
        _laterBy(NEXT_METER, 2, 500);
        trading.settleTrade(3); // sells 0 to 500
        trading.settleTrade(1); // follows, and starts anew
        VM.expectRevert(abi.encodeWithSelector(IP2PTrading.DeliveryNotShown.selector, 4));
        trading.settleTrade(4);
        _laterBy(NEXT_METER, 3, 1000);
        trading.settleTrade(4);
        isIn(trading, 3, IP2PTrading.Stage.Completed);
        isIn(trading, 4, IP2PTrading.Stage.Completed);
        isIn(trading, 1, IP2PTrading.Stage.Matched);
    }

    /* HELP */

    function _isNotShown() private {
        VM.expectRevert(abi.encodeWithSelector(IP2PTrading.DeliveryNotShown.selector, 1));
        trading.settleTrade(1);
    }

    /// @dev Alice's meter gets this many other keys, one after the other.
    function _rotateTimes(uint256 times) private returns (uint256 lastKey) {
        lastKey = METER;
        for (uint256 i; i < times; ++i) {
            uint256 nextKey = NEXT_METER + i;
            rotate(lastKey, nextKey, ALICE);
            lastKey = nextKey;
        }
    }

    /// @dev An hour passes, and Alice's meter begins anew at this register.
    function _reset(uint256 sequence, uint256 productionWh) private {
        _reset(METER, sequence, productionWh);
    }

    function _reset(uint256 meterKey, uint256 sequence, uint256 productionWh) private {
        VM.warp(block.timestamp + 1 hours);
        reset(meterKey, ALICE, packReading(block.timestamp, sequence, 0, productionWh));
    }

    function _laterBy(uint256 meterKey, uint256 sequence, uint256 productionWh) private {
        VM.warp(block.timestamp + 1 hours);
        read(meterKey, block.timestamp, sequence, productionWh);
    }
}
