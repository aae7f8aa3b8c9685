// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IAccessManaged} from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";

import {Authority} from "../../src/Authority.sol";
import {PriceFeeds} from "../../src/PriceFeeds.sol";
import {IPriceFeeds} from "../../src/interfaces/IPriceFeeds.sol";
import {Aggregator, OddAggregator} from "../base/Feeds.sol";
import {VM} from "../base/Vm.sol";

/// @title PriceFeedsTest: what is read, in which unit, and each refusal to its boundary
contract PriceFeedsTest {
    bytes32 private constant ID = "EUR/USD";
    uint256 private constant NOW = 1_800_000_000;
    uint32 private constant HEARTBEAT_S = 1 hours;
    uint256 private constant GRACE_S = 1 hours;
    uint128 private constant MIN = 500_000;
    uint128 private constant MAX = 2_000_000;

    Authority private authority;
    PriceFeeds private feeds;
    Aggregator private aggregator;

    function setUp() external {
        VM.warp(NOW);
        authority = new Authority(address(this));
        feeds = new PriceFeeds(address(authority), address(0), GRACE_S);
        aggregator = new Aggregator(8);
        aggregator.answer(1.0825e8);
        feeds.setFeed(ID, _feed());
    }

    /* VALUES */

    function testReadsInMicro() external {
        VM.warp(NOW + 10);
        (uint256 value, uint256 updatedAt) = feeds.read(ID);
        VM.assertEq(value, 1_082_500, "1.0825");
        VM.assertEq(updatedAt, NOW, "when it was told");
    }

    function testEveryNumberOfDecimals() external {
        for (uint8 decimals; decimals <= 36; ++decimals) {
            _answers(decimals, int256(10 ** decimals));
            VM.assertEq(_value(), 1_000_000, "one");
        }
        aggregator.setDecimals(37);
        _refused(abi.encodeWithSelector(IPriceFeeds.FeedDecimalsInvalid.selector, ID, 37));
    }

    function testRoundsDown() external {
        _answers(8, 123_456_799);
        VM.assertEq(_value(), 1_234_567, "down");
        _answers(7, 12_345_679);
        VM.assertEq(_value(), 1_234_567, "down");
        _answers(5, 123_456);
        VM.assertEq(_value(), 1_234_560, "exactly");
    }

    function testScalesLikeLongDivision(uint8 decimals, uint256 answer) external {
        decimals %= 37;
        answer = answer % 10 ** (uint256(decimals) + 9) + 1; // up to a thousand million
        feeds.setFeed(ID, IPriceFeeds.Feed(address(aggregator), HEARTBEAT_S, 0, type(uint128).max));
        _answers(decimals, int256(answer));
        uint256 expected = answer * 1e6 / 10 ** decimals;
        if (expected == 0) _refused(_outside(0, 0, type(uint128).max));
        else VM.assertEq(_value(), expected, "rounded down");
    }

    function testDecimalsAreReadEachTime() external {
        _answers(8, 1e8);
        VM.assertEq(_value(), 1_000_000, "one");
        _answers(18, 1e18);
        VM.assertEq(_value(), 1_000_000, "still one");
    }

    /* AGE */

    function testHeartbeatToTheSecond() external {
        VM.warp(NOW + HEARTBEAT_S);
        VM.assertEq(_value(), 1_082_500, "its last second");
        VM.warp(NOW + HEARTBEAT_S + 1);
        _refused(abi.encodeWithSelector(IPriceFeeds.FeedStale.selector, ID, NOW, HEARTBEAT_S));
    }

    function testFutureToTheSecond() external {
        aggregator.tell(Aggregator.Round(1, 1e8, NOW, NOW + 1, 1));
        _refused(abi.encodeWithSelector(IPriceFeeds.FeedFromFuture.selector, ID, NOW + 1));
        VM.warp(NOW + 1);
        VM.assertEq(_value(), 1_000_000, "now");
    }

    /* ROUNDS */

    function testRoundThatNeverStarted() external {
        aggregator.tell(Aggregator.Round(3, 1e8, 0, NOW, 3));
        _refused(abi.encodeWithSelector(IPriceFeeds.FeedRoundIncomplete.selector, ID, 3));
    }

    function testRoundThatIsNotAnswered() external {
        aggregator.tell(Aggregator.Round(3, 1e8, NOW, 0, 3));
        _refused(abi.encodeWithSelector(IPriceFeeds.FeedRoundIncomplete.selector, ID, 3));
    }

    function testAnswerOfAnEarlierRound() external {
        aggregator.tell(Aggregator.Round(3, 1e8, NOW, NOW, 2));
        _refused(abi.encodeWithSelector(IPriceFeeds.FeedRoundIncomplete.selector, ID, 3));
    }

    /* BOUNDS */

    function testZeroAndNegative() external {
        _answers(8, 0);
        _refused(abi.encodeWithSelector(IPriceFeeds.FeedNotPositive.selector, ID, int256(0)));
        _answers(8, -1);
        _refused(abi.encodeWithSelector(IPriceFeeds.FeedNotPositive.selector, ID, int256(-1)));
        _answers(8, type(int256).min);
        _refused(abi.encodeWithSelector(IPriceFeeds.FeedNotPositive.selector, ID, type(int256).min));
    }

    function testBoundsAreOutside() external {
        _answers(6, int256(uint256(MIN)));
        _refused(_outside(MIN, MIN, MAX));
        _answers(6, int256(uint256(MIN)) + 1);
        VM.assertEq(_value(), MIN + 1, "inside");
        _answers(6, int256(uint256(MAX)) - 1);
        VM.assertEq(_value(), MAX - 1, "inside");
        _answers(6, int256(uint256(MAX)));
        _refused(_outside(MAX, MIN, MAX));
    }

    function testValueThatRoundsToZero() external {
        feeds.setFeed(ID, IPriceFeeds.Feed(address(aggregator), HEARTBEAT_S, 0, MAX));
        _answers(18, 1e12 - 1);
        _refused(_outside(0, 0, MAX));
    }

    function testAnswerAtTheEndOfTheType() external {
        _answers(0, type(int256).max);
        _refused(_outside(type(uint256).max, MIN, MAX));
        _answers(0, int256(uint256(type(uint128).max)));
        _refused(_outside(uint256(type(uint128).max) * 1e6, MIN, MAX));
        _answers(36, type(int256).max);
        _refused(_outside(uint256(type(int256).max) / 1e30, MIN, MAX));
    }

    /* FEEDS */

    function testUnknownFeed() external {
        VM.expectRevert(
            abi.encodeWithSelector(IPriceFeeds.FeedUnknown.selector, bytes32("ETH/EUR"))
        );
        feeds.read("ETH/EUR");
    }

    function testRemovedFeed() external {
        VM.expectEmit(address(feeds));
        emit IPriceFeeds.FeedRemoved(ID);
        feeds.removeFeed(ID);
        _refused(abi.encodeWithSelector(IPriceFeeds.FeedUnknown.selector, ID));
        VM.assertEq(feeds.feedOf(ID).aggregator, address(0), "gone");
        VM.expectRevert(abi.encodeWithSelector(IPriceFeeds.FeedUnknown.selector, ID));
        feeds.removeFeed(ID);
    }

    function testReplacedFeed() external {
        Aggregator other = new Aggregator(6);
        other.answer(900_000);
        VM.expectEmit(address(feeds));
        emit IPriceFeeds.FeedSet(ID, address(other), 60, 1, 1_000_000);
        feeds.setFeed(ID, IPriceFeeds.Feed(address(other), 60, 1, 1_000_000));
        VM.assertEq(_value(), 900_000, "the other's");
        IPriceFeeds.Feed memory feed = feeds.feedOf(ID);
        VM.assertEq(feed.aggregator, address(other), "aggregator");
        VM.assertEq(feed.heartbeatS, 60, "heartbeat");
        VM.assertEq(feed.minMicro, 1, "low");
        VM.assertEq(feed.maxMicro, 1_000_000, "high");
    }

    function testFeedsThatCannotBeSet() external {
        _invalid(0, _feed(), "id");
        IPriceFeeds.Feed memory feed = _feed();
        feed.heartbeatS = 0;
        _invalid(ID, feed, "heartbeatS");
        feed = _feed();
        feed.minMicro = feed.maxMicro;
        _invalid(ID, feed, "minMicro");
        feed.minMicro = feed.maxMicro - 1;
        feeds.setFeed(ID, feed);
    }

    function testWhatIsNoFeedCannotBeSet() external {
        IPriceFeeds.Feed memory feed = _feed();
        feed.aggregator = address(0xE0A);
        VM.expectRevert(
            abi.encodeWithSelector(IPriceFeeds.FeedUnreadable.selector, ID, feed.aggregator)
        );
        feeds.setFeed(ID, feed);
        feed.aggregator = address(authority);
        VM.expectRevert(
            abi.encodeWithSelector(IPriceFeeds.FeedUnreadable.selector, ID, feed.aggregator)
        );
        feeds.setFeed(ID, feed);
        OddAggregator odd = new OddAggregator();
        odd.set(abi.encode(8), false); // as many decimals as one likes, but no round
        feed.aggregator = address(odd);
        VM.expectRevert(
            abi.encodeWithSelector(IPriceFeeds.FeedUnreadable.selector, ID, feed.aggregator)
        );
        feeds.setFeed(ID, feed);
        aggregator.setDecimals(37);
        VM.expectRevert(abi.encodeWithSelector(IPriceFeeds.FeedDecimalsInvalid.selector, ID, 37));
        feeds.setFeed(ID, _feed());
    }

    function testOnlyTheAdminSets() external {
        bytes memory why = abi.encodeWithSelector(
            IAccessManaged.AccessManagedUnauthorized.selector, address(0xE0A)
        );
        VM.prank(address(0xE0A));
        VM.expectRevert(why);
        feeds.setFeed(ID, _feed());
        VM.prank(address(0xE0A));
        VM.expectRevert(why);
        feeds.removeFeed(ID);
    }

    /* SEQUENCER */

    function testSequencer() external {
        Aggregator uptime = _onLayer2();
        uptime.tell(Aggregator.Round(1, 0, NOW - GRACE_S - 1, NOW, 1));
        VM.assertEq(_value(), 1_082_500, "up for long enough");
        uptime.tell(Aggregator.Round(2, 1, NOW - 5, NOW, 2));
        _refused(abi.encodeWithSelector(IPriceFeeds.SequencerDown.selector, NOW - 5));
    }

    function testGracePeriodToTheSecond() external {
        Aggregator uptime = _onLayer2();
        uptime.tell(Aggregator.Round(1, 0, NOW, NOW, 1));
        VM.warp(NOW + GRACE_S);
        _refused(abi.encodeWithSelector(IPriceFeeds.SequencerGracePeriod.selector, NOW, GRACE_S));
        VM.warp(NOW + GRACE_S + 1);
        aggregator.answer(1e8);
        VM.assertEq(_value(), 1_000_000, "over");
    }

    function testSequencerThatWasNeverTold() external {
        Aggregator uptime = _onLayer2();
        uptime.tell(Aggregator.Round(1, 0, 0, NOW, 1));
        _refused(abi.encodeWithSelector(IPriceFeeds.SequencerRoundInvalid.selector, 0));
        uptime.tell(Aggregator.Round(1, 0, NOW + 1, NOW, 1));
        _refused(abi.encodeWithSelector(IPriceFeeds.SequencerRoundInvalid.selector, NOW + 1));
    }

    function testSequencerFeedNeedsCode() external {
        VM.expectRevert(
            abi.encodeWithSelector(IPriceFeeds.SequencerFeedInvalid.selector, address(0xE0A))
        );
        new PriceFeeds(address(authority), address(0xE0A), GRACE_S);
    }

    function testWithoutSequencer() external view {
        VM.assertEq(feeds.sequencerUptimeFeed(), address(0), "none");
        VM.assertEq(feeds.graceS(), GRACE_S, "grace");
    }

    /* HELPERS */

    function _feed() private view returns (IPriceFeeds.Feed memory) {
        return IPriceFeeds.Feed(address(aggregator), HEARTBEAT_S, MIN, MAX);
    }

    function _answers(uint8 decimals, int256 answer) private {
        aggregator.setDecimals(decimals);
        aggregator.answer(answer);
    }

    function _onLayer2() private returns (Aggregator uptime) {
        uptime = new Aggregator(0);
        feeds = new PriceFeeds(address(authority), address(uptime), GRACE_S);
        feeds.setFeed(ID, _feed());
    }

    /// @dev The value, the same by both doors.
    function _value() private view returns (uint256 value) {
        uint256 updatedAt;
        (value, updatedAt) = feeds.read(ID);
        (bool ok, uint256 tried, uint256 triedAt, bytes memory problem) = feeds.tryRead(ID);
        VM.assertTrue(ok, "read");
        VM.assertEq(tried, value, "the same value");
        VM.assertEq(triedAt, updatedAt, "of the same second");
        VM.assertEq(problem.length, 0, "no problem");
    }

    /// @dev Refused for this reason by both doors, and no value beside it.
    function _refused(bytes memory why) private {
        (bool ok, uint256 value, uint256 updatedAt, bytes memory problem) = feeds.tryRead(ID);
        VM.assertFalse(ok, "refused");
        VM.assertEq(value, 0, "no value");
        VM.assertEq(updatedAt, 0, "no time");
        VM.assertEq(keccak256(problem), keccak256(why), "the reason");
        VM.expectRevert(why);
        feeds.read(ID);
    }

    function _invalid(bytes32 id, IPriceFeeds.Feed memory feed, string memory field) private {
        VM.expectRevert(abi.encodeWithSelector(IPriceFeeds.FeedInvalid.selector, id, field));
        feeds.setFeed(id, feed);
    }

    function _outside(uint256 value, uint256 min, uint256 max) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IPriceFeeds.FeedOutOfBounds.selector, ID, value, min, max);
    }
}
