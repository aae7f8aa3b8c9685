// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

/// @title IGridManagement: how the grid's nodes are doing, for anyone to read
interface IGridManagement {
    /// @notice One node's state
    /// @param totalLoad power that the node carries, in W
    /// @param availableCapacity power that is left, in W; 0 when overloaded
    /// @param stability share of the capacity that is free, 0..1e6
    /// @param emergencyStatus true from too little free capacity until there is clearly enough again
    struct GridMetrics {
        uint256 totalLoad;
        uint256 availableCapacity;
        uint256 stability;
        bool emergencyStatus;
    }

    /// @notice Report a node's load and capacity
    /// @dev Grid role only.
    /// @param nodeId the node
    /// @param load power in W
    /// @param capacity power in W, not zero
    function updateGridMetrics(uint256 nodeId, uint256 load, uint256 capacity) external;

    /// @notice The node's metrics as last reported; their age is `updatedAt` and `isStale`
    function getGridStatus(uint256 nodeId) external view returns (GridMetrics memory);

    /// @notice Ask the community to relieve a node
    /// @dev Grid role only; the coordinator answers the event.
    function triggerLoadBalancing(uint256 nodeId) external;
}
