// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

/// @title IPriceFeeds: prices from outside, checked, or a named reason why there is none
/// @notice For caps and conversions into other currencies. No settlement depends on it.
interface IPriceFeeds {
    /// @notice Where a price comes from and when it is believed
    /// @param aggregator a Chainlink `AggregatorV3Interface`
    /// @param heartbeatS oldest age in seconds at which an answer counts
    /// @param minMicro the value must be above this, in 1e-6
    /// @param maxMicro the value must be below this, in 1e-6
    struct Feed {
        address aggregator;
        uint32 heartbeatS;
        uint128 minMicro;
        uint128 maxMicro;
    }

    event FeedSet(
        bytes32 indexed id,
        address indexed aggregator,
        uint256 heartbeatS,
        uint256 minMicro,
        uint256 maxMicro
    );
    event FeedRemoved(bytes32 indexed id);

    /// @notice What cannot be set, and why
    error FeedInvalid(bytes32 id, string field);
    error SequencerFeedInvalid(address feed);

    error GasTooLow(uint256 gas, uint256 needed);
    error FeedUnknown(bytes32 id);
    error FeedUnreadable(bytes32 id, address aggregator);
    error FeedDecimalsInvalid(bytes32 id, uint256 decimals);
    error FeedRoundIncomplete(bytes32 id, uint256 roundId);
    error FeedFromFuture(bytes32 id, uint256 updatedAt);
    error FeedStale(bytes32 id, uint256 updatedAt, uint256 heartbeatS);
    error FeedNotPositive(bytes32 id, int256 answer);
    error FeedClamped(bytes32 id, int256 answer);
    error FeedOutOfBounds(bytes32 id, uint256 valueMicro, uint256 minMicro, uint256 maxMicro);
    error SequencerUnreadable(address feed);
    error SequencerRoundInvalid(uint256 startedAt);
    error SequencerDown(uint256 since);
    error SequencerGracePeriod(uint256 upSince, uint256 graceS);

    /// @notice Set or replace a feed; refused unless it can be read as a feed now
    /// @dev Admin only.
    function setFeed(bytes32 id, Feed calldata feed) external;

    /// @notice Remove a feed
    /// @dev Admin only.
    function removeFeed(bytes32 id) external;

    /// @notice The feed's value, or a revert that names why there is none
    /// @dev Refused are: an unknown feed; on a layer 2, a sequencer that is down, was down until less
    /// than the grace period ago, or whose state is unknown; an aggregator that fails or has no code,
    /// or more than 36 decimals; a round that is incomplete or from the future; an answer that is
    /// older than the heartbeat, not positive, at the aggregator's own limits, or at or beyond the
    /// feed's bounds.
    /// @return valueMicro the value in 1e-6, rounded down
    /// @return updatedAt when it was reported, UTC seconds
    function read(bytes32 id) external view returns (uint256 valueMicro, uint256 updatedAt);

    /// @notice As `read`, but never reverts
    /// @return ok false when the value is refused
    /// @return valueMicro 0 when refused
    /// @return updatedAt 0 when refused
    /// @return problem the ABI-encoded error that `read` reverts with; empty when the gas did not do for one
    function tryRead(bytes32 id)
        external
        view
        returns (bool ok, uint256 valueMicro, uint256 updatedAt, bytes memory problem);

    /// @notice A feed; its aggregator is zero when there is none
    function feedOf(bytes32 id) external view returns (Feed memory);

    /// @notice Chainlink's sequencer uptime feed; zero on a chain without a sequencer
    function sequencerUptimeFeed() external view returns (address);

    /// @notice Seconds after the sequencer's return before prices count again
    function graceS() external view returns (uint256);
}
