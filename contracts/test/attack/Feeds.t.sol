// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {Authority} from "../../src/Authority.sol";
import {PriceFeeds} from "../../src/PriceFeeds.sol";
import {IPriceFeeds} from "../../src/interfaces/IPriceFeeds.sol";
import {
    Aggregator,
    AggregatorProxy,
    BoundedAggregator,
    EndlessAggregator,
    GreedyAggregator,
    LaboriousAggregator,
    MuteAggregator,
    OddAggregator
} from "../base/Feeds.sol";
import {VM} from "../base/Vm.sol";

/// @title FeedAttacks: aggregators that clamp, fail, vanish, burn or flood, and callers with little gas
contract FeedAttacks {
    bytes32 private constant ID = "EUR/USD";
    uint256 private constant NOW = 1_800_000_000;

    Authority private authority;
    PriceFeeds private feeds;

    function setUp() external {
        VM.warp(NOW);
        authority = new Authority(address(this));
        feeds = new PriceFeeds(address(authority), address(0), 0);
    }

    /* CLAMPED */

    function testClampedAtTheAggregatorsLimits() external {
        BoundedAggregator aggregator = new BoundedAggregator(8, 0.1e8, 10e8);
        _set(address(aggregator));
        _clamps(aggregator, 0.1e8, 10e8);
    }

    function testClampedBehindAProxy() external {
        BoundedAggregator aggregator = new BoundedAggregator(8, 0.1e8, 10e8);
        _set(address(new AggregatorProxy(aggregator)));
        _clamps(aggregator, 0.1e8, 10e8);
    }

    function testNegativeLimitsClampNothingAboveThem() external {
        BoundedAggregator aggregator = new BoundedAggregator(8, type(int192).min, type(int192).max);
        _set(address(aggregator));
        aggregator.answer(1e8);
        VM.assertEq(_value(), 1_000_000, "inside");
    }

    /// @dev With little gas an aggregator would look silent, or as if it had no limits.
    function testLittleGasHidesNothing() external {
        LaboriousAggregator aggregator = new LaboriousAggregator();
        _set(address(aggregator));
        aggregator.answer(2e8);
        bytes memory call = abi.encodeCall(feeds.read, (ID));
        bytes32 clamped =
            keccak256(abi.encodeWithSelector(IPriceFeeds.FeedClamped.selector, ID, int256(2e8)));
        bool reached;
        for (uint256 gas = 20_000; gas < 1_000_000; gas += 4000) {
            (bool success, bytes memory answer) = address(feeds).staticcall{gas: gas}(call);
            VM.assertFalse(success, "never passes");
            bool isClamped = keccak256(answer) == clamped;
            if (!isClamped && answer.length != 0) {
                VM.assertEq(
                    bytes32(bytes4(answer)), bytes32(IPriceFeeds.GasTooLow.selector), "says why"
                );
            }
            reached = reached || isClamped;
        }
        VM.assertTrue(reached, "with enough gas the limit is seen");
    }

    /* FAILING */

    function testAggregatorThatVanishes() external {
        Aggregator aggregator = _plain();
        VM.etch(address(aggregator), "");
        _refused(_unreadable(address(aggregator)));
    }

    function testAggregatorThatReverts() external {
        OddAggregator aggregator = _odd();
        aggregator.set("not today", true);
        _refused(_unreadable(address(aggregator)));
        aggregator.set("", true);
        _refused(_unreadable(address(aggregator)));
        aggregator.set(new bytes(160), true);
        _refused(_unreadable(address(aggregator)));
    }

    function testAggregatorThatAnswersTooLittle() external {
        OddAggregator aggregator = _odd();
        aggregator.set(new bytes(159), false);
        _refused(_unreadable(address(aggregator)));
        aggregator.set("", false);
        _refused(_unreadable(address(aggregator)));
    }

    function testAggregatorThatLosesItsDecimals() external {
        MuteAggregator aggregator = new MuteAggregator();
        _set(address(aggregator));
        VM.assertEq(_value(), 1_000_000, "before");
        aggregator.mute();
        _refused(_unreadable(address(aggregator)));
    }

    function testAggregatorThatBurnsItsGas() external {
        GreedyAggregator aggregator = new GreedyAggregator();
        _set(address(aggregator));
        aggregator.answer(1e8);
        VM.assertEq(_value(), 1_000_000, "before");
        aggregator.turn();
        uint256 before = gasleft();
        _refused(_unreadable(address(aggregator)));
        VM.assertGe(600_000, before - gasleft(), "the caller keeps the rest");
    }

    function testAggregatorThatFloods() external {
        Aggregator aggregator = _plain();
        VM.etch(address(aggregator), address(new EndlessAggregator()).code);
        uint256 before = gasleft();
        (bool ok,,, bytes memory problem) = feeds.tryRead(ID);
        VM.assertFalse(ok, "nothing in it");
        VM.assertGe(100, problem.length, "a short reason");
        VM.assertGe(120_000, before - gasleft(), "nothing was copied");
    }

    function testSequencerFeedThatFails() external {
        Aggregator uptime = new Aggregator(0);
        uptime.tell(Aggregator.Round(1, 0, NOW - 1, NOW, 1));
        feeds = new PriceFeeds(address(authority), address(uptime), 0);
        _plain();
        VM.assertEq(_value(), 1_000_000, "up");
        VM.etch(address(uptime), "");
        _refused(abi.encodeWithSelector(IPriceFeeds.SequencerUnreadable.selector, address(uptime)));
    }

    /// @dev Whatever an aggregator answers, `tryRead` does not revert, and what it lets pass is inside.
    function testNothingMakesTryReadRevert(bytes calldata answer, bool reverts) external {
        OddAggregator aggregator = _odd();
        aggregator.set(answer, reverts);
        (bool ok, uint256 value,,) = feeds.tryRead(ID);
        VM.assertTrue(!ok || (value > 1 && value < 1e12), "inside");
    }

    function testWordsFromNowhere(int256 answer, uint256 startedAt, uint256 updatedAt, uint8 power)
        external
    {
        Aggregator aggregator = _plain();
        aggregator.setDecimals(power);
        aggregator.tell(Aggregator.Round(1, answer, startedAt, updatedAt, 1));
        (bool ok, uint256 value, uint256 reportedAt,) = feeds.tryRead(ID);
        if (!ok) return;
        VM.assertTrue(value > 1 && value < 1e12 && answer > 0 && power <= 36, "inside");
        VM.assertTrue(
            reportedAt == updatedAt && reportedAt <= NOW && NOW - reportedAt <= 1 hours, "fresh"
        );
    }

    /* HELPERS */

    function _clamps(Aggregator aggregator, int256 low, int256 high) private {
        aggregator.answer(low + 100);
        VM.assertEq(_value(), uint256(low) / 100 + 1, "inside");
        aggregator.answer(high - 100);
        VM.assertEq(_value(), uint256(high) / 100 - 1, "inside");
        int256[4] memory beyond = [low, low - 1, high, high + 1];
        for (uint256 i; i < 4; ++i) {
            aggregator.answer(beyond[i]);
            _refused(abi.encodeWithSelector(IPriceFeeds.FeedClamped.selector, ID, beyond[i]));
        }
    }

    function _set(address aggregator) private {
        feeds.setFeed(ID, IPriceFeeds.Feed(aggregator, 1 hours, 1, 1e12));
    }

    function _plain() private returns (Aggregator aggregator) {
        aggregator = new Aggregator(8);
        aggregator.answer(1e8);
        _set(address(aggregator));
    }

    /// @dev Set while its answer still looks like a round and like decimals.
    function _odd() private returns (OddAggregator aggregator) {
        aggregator = new OddAggregator();
        aggregator.set(new bytes(160), false);
        _set(address(aggregator));
    }

    function _value() private view returns (uint256 value) {
        (value,) = feeds.read(ID);
    }

    function _refused(bytes memory why) private {
        (bool ok, uint256 value,, bytes memory problem) = feeds.tryRead(ID);
        VM.assertFalse(ok, "refused");
        VM.assertEq(value, 0, "no value");
        VM.assertEq(keccak256(problem), keccak256(why), "the reason");
    }

    function _unreadable(address aggregator) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IPriceFeeds.FeedUnreadable.selector, ID, aggregator);
    }
}
