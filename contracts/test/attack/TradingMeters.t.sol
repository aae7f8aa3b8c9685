// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IP2PTrading} from "../../src/interfaces/IP2PTrading.sol";
import {Batches} from "../base/Batches.sol";
import {TradingCommunity} from "../base/TradingCommunity.sol";
import {VM} from "../base/Vm.sol";

/// @title TradingMeters: sellers that show what they did not deliver, and meters that change meanwhile
contract TradingMeters is TradingCommunity {
    uint256 private constant NEXT_METER = 0x3E7E3;
    uint256 private constant LAST_METER = 0x3E7E4;
    uint64 private constant DISPUTES = 6;

    function setUp() public override {
        super.setUp();
        authority.grantRole(DISPUTES, address(this), 0);
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
        registry.suspendMeter(deviceOf(METER));
        _isNotShown();
    }

    /// @dev The suspended key may have lifted the register on which the next one stands.
    function testAKeyAfterASuspensionStartsAnew() external {
        offer(trading);
        take(trading, 0);
        later(2, 7000);
        registry.suspendMeter(deviceOf(METER));
        _rotate(METER, NEXT_METER);
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
        _rotate(METER, NEXT_METER);
        _rotate(NEXT_METER, LAST_METER);
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
        _rotate(METER, NEXT_METER);
        VM.warp(block.timestamp + 10 minutes);
        read(NEXT_METER, block.timestamp, 1, 6000);
        VM.expectEmit(address(trading));
        emit IP2PTrading.DeliveryStarted(1, 6000);
        take(trading, 0);
    }

    function testARefundLooksAtTheNextKeyToo() external {
        offer(trading);
        take(trading, 0);
        _rotate(METER, NEXT_METER);
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
        _rotate(METER, NEXT_METER);
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
        _rotate(METER, NEXT_METER);
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

    /* HELP */

    function _isNotShown() private {
        VM.expectRevert(abi.encodeWithSelector(IP2PTrading.DeliveryNotShown.selector, 1));
        trading.settleTrade(1);
    }

    /// @dev Alice's meter gets another key.
    function _rotate(uint256 oldKey, uint256 newKey) private {
        (uint256 oldId, uint256 newId) = (deviceOf(oldKey), deviceOf(newKey));
        (uint256 x, uint256 y) = VM.publicKeyP256(newKey);
        bytes32 typeHash =
            keccak256("MeterRotation(uint256 oldDeviceId,uint256 newDeviceId,address account)");
        bytes32 structHash = keccak256(abi.encode(typeHash, oldId, newId, alice));
        (bytes memory byMeter, bytes memory byAccount) = _consents(newKey, structHash);
        VM.prank(operator);
        registry.rotateMeter(oldId, newId, abi.encode(x, y, byMeter, byAccount));
    }

    /// @dev An hour passes, and Alice's meter begins anew at this register.
    function _reset(uint256 sequence, uint256 productionWh) private {
        VM.warp(block.timestamp + 1 hours);
        uint256 deviceId = deviceOf(METER);
        uint256 production = registry.lastReading(deviceId).production;
        bytes32 typeHash = keccak256(
            "MeterReset(uint256 deviceId,address account,uint64 timestamp,uint64 sequence,uint64 oldConsumptionWh,uint64 oldProductionWh,uint64 newConsumptionWh,uint64 newProductionWh)"
        );
        bytes32 structHash = keccak256(
            abi.encode(
                typeHash, deviceId, alice, block.timestamp, sequence, 0, production, 0, productionWh
            )
        );
        (bytes memory byMeter, bytes memory byAccount) = _consents(METER, structHash);
        uint256 reading = packReading(block.timestamp, sequence, 0, productionWh);
        VM.prank(operator);
        registry.resetMeter(deviceId, reading, abi.encode(byMeter, byAccount));
    }

    function _consents(uint256 meterKey, bytes32 structHash)
        private
        view
        returns (bytes memory byMeter, bytes memory byAccount)
    {
        bytes32 digest = digestOf(structHash);
        (bytes32 r, bytes32 s) = VM.signP256(meterKey, digest);
        (bytes32 accountR, bytes32 accountVs) = Batches.compact(ALICE, digest);
        return (bytes.concat(r, lowS(s)), bytes.concat(accountR, accountVs));
    }
}
