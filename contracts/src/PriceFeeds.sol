// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";

import {AggregatorBounds, AggregatorV3Interface} from "./interfaces/AggregatorV3Interface.sol";
import {IPriceFeeds} from "./interfaces/IPriceFeeds.sol";

/// @title PriceFeeds: Chainlink's feeds behind every check that a price needs
contract PriceFeeds is IPriceFeeds, AccessManaged {
    /// @dev What `latestRoundData` answers, one word each.
    struct Round {
        uint256 id;
        int256 answer;
        uint256 startedAt;
        uint256 updatedAt;
        uint256 answeredIn;
    }

    uint256 private constant _DECIMALS = 6;
    uint256 private constant _DECIMALS_MAX = 36;
    uint256 private constant _ROUND_BYTES = 160;
    /// @dev Several times what a feed needs; one that burns its gas leaves the caller the rest.
    uint256 private constant _CALL_GAS = 200_000;
    /// @dev With less, a call would get less than `_CALL_GAS` (EIP-150 keeps a 64th back).
    uint256 private constant _CALL_GAS_NEEDED = 205_000;

    /// @inheritdoc IPriceFeeds
    address public immutable sequencerUptimeFeed;
    /// @inheritdoc IPriceFeeds
    uint256 public immutable graceS;

    mapping(bytes32 id => Feed) private _feeds;

    /// @param sequencerUptimeFeed_ Chainlink's feed of a layer 2's sequencer; zero on other chains
    /// @param graceS_ seconds after the sequencer's return before prices count again, e.g. an hour
    constructor(address authority, address sequencerUptimeFeed_, uint256 graceS_)
        AccessManaged(authority)
    {
        if (sequencerUptimeFeed_ != address(0) && sequencerUptimeFeed_.code.length == 0) {
            revert SequencerFeedInvalid(sequencerUptimeFeed_);
        }
        sequencerUptimeFeed = sequencerUptimeFeed_;
        graceS = graceS_;
    }

    /// @inheritdoc IPriceFeeds
    function setFeed(bytes32 id, Feed calldata feed) external restricted {
        if (id == bytes32(0)) revert FeedInvalid(id, "id");
        if (feed.heartbeatS == 0) revert FeedInvalid(id, "heartbeatS");
        if (feed.minMicro >= feed.maxMicro) revert FeedInvalid(id, "minMicro");
        _roundOf(id, feed.aggregator);
        _decimalsOf(id, feed.aggregator);
        _feeds[id] = feed;
        emit FeedSet(id, feed.aggregator, feed.heartbeatS, feed.minMicro, feed.maxMicro);
    }

    /// @inheritdoc IPriceFeeds
    function removeFeed(bytes32 id) external restricted {
        if (_feeds[id].aggregator == address(0)) revert FeedUnknown(id);
        delete _feeds[id];
        emit FeedRemoved(id);
    }

    /// @inheritdoc IPriceFeeds
    function read(bytes32 id) external view returns (uint256 valueMicro, uint256 updatedAt) {
        Feed memory feed = _feeds[id];
        if (feed.aggregator == address(0)) revert FeedUnknown(id);
        _checkSequencer();
        Round memory round = _roundOf(id, feed.aggregator);
        _checkRound(id, round, feed.heartbeatS);
        _checkClamp(id, feed.aggregator, round.answer);
        valueMicro = _micro(uint256(round.answer), _decimalsOf(id, feed.aggregator));
        if (valueMicro <= feed.minMicro || valueMicro >= feed.maxMicro) {
            revert FeedOutOfBounds(id, valueMicro, feed.minMicro, feed.maxMicro);
        }
        return (valueMicro, round.updatedAt);
    }

    /// @inheritdoc IPriceFeeds
    function tryRead(bytes32 id)
        external
        view
        returns (bool ok, uint256 valueMicro, uint256 updatedAt, bytes memory problem)
    {
        try this.read(id) returns (uint256 value, uint256 reportedAt) {
            return (true, value, reportedAt, "");
        } catch (bytes memory reason) {
            return (false, 0, 0, reason);
        }
    }

    /// @inheritdoc IPriceFeeds
    function feedOf(bytes32 id) external view returns (Feed memory) {
        return _feeds[id];
    }

    /// @dev Chainlink's uptime feed answers 0 while the sequencer is up, since `startedAt`; a
    /// `startedAt` of zero says that it was never told (Arbitrum).
    function _checkSequencer() private view {
        if (sequencerUptimeFeed == address(0)) return;
        (bool success, Round memory round) = _tryRound(sequencerUptimeFeed);
        if (!success) revert SequencerUnreadable(sequencerUptimeFeed);
        if (round.answer != 0) revert SequencerDown(round.startedAt);
        if (round.startedAt == 0 || round.startedAt > block.timestamp) {
            revert SequencerRoundInvalid(round.startedAt);
        }
        if (block.timestamp - round.startedAt <= graceS) {
            revert SequencerGracePeriod(round.startedAt, graceS);
        }
    }

    function _checkRound(bytes32 id, Round memory round, uint256 heartbeatS) private view {
        if (round.startedAt == 0 || round.updatedAt == 0 || round.answeredIn < round.id) {
            revert FeedRoundIncomplete(id, round.id);
        }
        if (round.updatedAt > block.timestamp) revert FeedFromFuture(id, round.updatedAt);
        if (block.timestamp - round.updatedAt > heartbeatS) {
            revert FeedStale(id, round.updatedAt, heartbeatS);
        }
        if (round.answer <= 0) revert FeedNotPositive(id, round.answer);
    }

    /// @dev Refuse an answer at the limits of the aggregator, or of the one behind a proxy, if it says
    /// what they are: the price may be anywhere beyond.
    function _checkClamp(bytes32 id, address aggregator, int256 answer) private view {
        (bool isProxy, uint256 behind) = _tryWord(aggregator, AggregatorBounds.aggregator.selector);
        address source = isProxy ? address(uint160(behind)) : aggregator;
        (bool hasMin, uint256 low) = _tryWord(source, AggregatorBounds.minAnswer.selector);
        (bool hasMax, uint256 high) = _tryWord(source, AggregatorBounds.maxAnswer.selector);
        if (hasMin && answer <= int256(low) || hasMax && answer >= int256(high)) {
            revert FeedClamped(id, answer);
        }
    }

    function _roundOf(bytes32 id, address aggregator) private view returns (Round memory) {
        (bool success, Round memory round) = _tryRound(aggregator);
        if (!success) revert FeedUnreadable(id, aggregator);
        return round;
    }

    function _decimalsOf(bytes32 id, address aggregator) private view returns (uint256) {
        (bool success, uint256 decimals) =
            _tryWord(aggregator, AggregatorV3Interface.decimals.selector);
        if (!success) revert FeedUnreadable(id, aggregator);
        if (decimals > _DECIMALS_MAX) revert FeedDecimalsInvalid(id, decimals);
        return decimals;
    }

    /// @dev The positive answer in 1e-6, rounded down; the type's maximum where it is out of all bounds.
    function _micro(uint256 answer, uint256 decimals) private pure returns (uint256) {
        if (decimals > _DECIMALS) return answer / 10 ** (decimals - _DECIMALS);
        if (answer > type(uint128).max) return type(uint256).max;
        return answer * 10 ** (_DECIMALS - decimals);
    }

    function _tryRound(address feed) private view returns (bool success, Round memory round) {
        bytes4 selector = AggregatorV3Interface.latestRoundData.selector;
        _checkGas();
        assembly ("memory-safe") {
            mstore(0, selector)
            success := staticcall(_CALL_GAS, feed, 0, 4, round, _ROUND_BYTES)
            success := and(success, iszero(lt(returndatasize(), _ROUND_BYTES)))
        }
    }

    /// @dev One word that a contract answers; no more is copied, however much it returns.
    function _tryWord(address target, bytes4 selector)
        private
        view
        returns (bool success, uint256 word)
    {
        _checkGas();
        assembly ("memory-safe") {
            mstore(0, selector)
            success := staticcall(_CALL_GAS, target, 0, 4, 0, 32)
            success := and(success, iszero(lt(returndatasize(), 32)))
            word := mload(0)
        }
    }

    /// @dev Whoever calls with little gas must not make a feed look silent, or free of limits.
    function _checkGas() private view {
        if (gasleft() < _CALL_GAS_NEEDED) revert GasTooLow(gasleft(), _CALL_GAS_NEEDED);
    }
}
