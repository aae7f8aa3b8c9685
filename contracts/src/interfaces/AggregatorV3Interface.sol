// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

/// @title AggregatorV3Interface: a Chainlink price feed, or anything that answers as one
interface AggregatorV3Interface {
    /// @notice Decimals of the answers
    function decimals() external view returns (uint8);

    /// @notice What the feed tells, e.g. `EUR / USD`
    function description() external view returns (string memory);

    /// @notice Version of the aggregator
    function version() external view returns (uint256);

    /// @notice A round of the past
    function getRoundData(uint80 roundId)
        external
        view
        returns (
            uint80 id,
            int256 answer,
            uint256 startedAt,
            uint256 updatedAt,
            uint80 answeredInRound
        );

    /// @notice The latest round
    function latestRoundData()
        external
        view
        returns (
            uint80 roundId,
            int256 answer,
            uint256 startedAt,
            uint256 updatedAt,
            uint80 answeredInRound
        );
}

/// @title AggregatorBounds: what a Chainlink proxy and the aggregator behind it say of their limits
/// @dev An aggregator reports its limit when the price is beyond it. Not every feed has this.
interface AggregatorBounds {
    /// @notice The aggregator behind the proxy
    function aggregator() external view returns (address);

    /// @notice Lowest answer that the aggregator reports
    function minAnswer() external view returns (int192);

    /// @notice Highest answer that the aggregator reports
    function maxAnswer() external view returns (int192);
}
