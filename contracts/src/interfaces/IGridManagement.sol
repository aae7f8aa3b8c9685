// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

/// @title IGridManagement: how the grid's nodes are doing, for anyone to read
/// @notice A node's emergency is automatic (too little free capacity, with hysteresis) or declared. Both
/// are dead man's switches: the one ends when nobody reports any more, the other when nobody renews it.
interface IGridManagement {
    /// @notice One node's state
    /// @param totalLoad power that the node carries, in W
    /// @param availableCapacity power that is left, in W; 0 when overloaded
    /// @param stability share of the capacity that is free, 0..1e6
    /// @param emergencyStatus true while an automatic or a declared emergency holds
    struct GridMetrics {
        uint256 totalLoad;
        uint256 availableCapacity;
        uint256 stability;
        bool emergencyStatus;
    }

    /// @notice A node was reported
    event GridMetricsUpdated(
        uint256 indexed nodeId, uint256 loadW, uint256 capacityW, uint256 stability
    );

    /// @notice Too little of the capacity is free
    event EmergencyStarted(uint256 indexed nodeId, uint256 stability);

    /// @notice Clearly enough of the capacity is free again
    event EmergencyEnded(uint256 indexed nodeId, uint256 stability);

    /// @notice The automatic emergency had ended when its metrics went stale; told with the next report
    /// @param lapsedAt last second in which it held
    event EmergencyLapsed(uint256 indexed nodeId, uint256 lapsedAt);

    /// @notice An emergency was declared or renewed, and holds until just before `until`
    event EmergencyDeclared(uint256 indexed nodeId, uint256 until);

    /// @notice The declared emergency was ended before its time
    event EmergencyWithdrawn(uint256 indexed nodeId);

    /// @notice The community is asked to relieve a node
    /// @param requestId counts from 1 for each node
    /// @param overloadW what is above the capacity; 0 when the node is only near it
    event LoadBalancingTriggered(
        uint256 indexed nodeId, uint256 indexed requestId, uint256 overloadW, uint256 stability
    );

    /// @notice The community answered a request
    /// @param relievedW power by which it relieves the node; 0 when it cannot
    event LoadBalancingAnswered(
        uint256 indexed nodeId, uint256 indexed requestId, uint256 relievedW
    );

    error ConfigurationInvalid(string field);
    error NodeUnknown(uint256 nodeId);
    error PowerOutOfRange(uint256 powerW);
    error CapacityZero(uint256 nodeId);
    error MetricsStale(uint256 nodeId, uint256 updatedAt);
    error DurationTooLong(uint256 durationS, uint256 durationMaxS);
    error EmergencyNotDeclared(uint256 nodeId);
    error RequestUnknown(uint256 nodeId, uint256 requestId);
    error RequestAlreadyAnswered(uint256 nodeId, uint256 requestId);

    /// @notice Report a node's load and capacity
    /// @dev Grid role only.
    /// @param nodeId the node
    /// @param load power in W, at most 64 bits
    /// @param capacity power in W, not zero, at most 64 bits
    function updateGridMetrics(uint256 nodeId, uint256 load, uint256 capacity) external;

    /// @notice The node's metrics as last reported, and its emergency as of now
    /// @dev Whether they are too old to act on is told by `updatedAt` and `isStale`.
    function getGridStatus(uint256 nodeId) external view returns (GridMetrics memory);

    /// @notice Ask the community to relieve a node
    /// @dev Grid role only, and not on stale metrics; the coordinator answers the event.
    function triggerLoadBalancing(uint256 nodeId) external;

    /// @notice Answer a request, once
    /// @dev Grid role only.
    /// @param nodeId the node
    /// @param requestId the request's number in `LoadBalancingTriggered`
    /// @param relievedW power in W by which the community relieves the node, 0 when it cannot
    function answerLoadBalancing(uint256 nodeId, uint256 requestId, uint256 relievedW) external;

    /// @notice Declare an emergency for a while, or renew it; whatever the metrics are
    /// @dev Grid role only. It ends by itself; nobody has to be there to end it.
    /// @param nodeId a node that was reported once
    /// @param durationS seconds from now on, at most `declarationMaxS`; 0 ends the declared emergency
    function declareEmergency(uint256 nodeId, uint256 durationS) external;

    /// @notice When the node was last reported, UTC seconds; 0 for never
    function updatedAt(uint256 nodeId) external view returns (uint256);

    /// @notice True when the metrics are too old to act on, or were never reported
    function isStale(uint256 nodeId) external view returns (bool);

    /// @notice What the node's emergency rests on; zero for what it does not rest on
    /// @return automaticUntil last second of the automatic one if nobody reports before
    /// @return declaredUntil first second after the declared one if nobody renews it before
    function emergencyOf(uint256 nodeId)
        external
        view
        returns (uint256 automaticUntil, uint256 declaredUntil);

    /// @notice How often the community was asked to relieve the node
    function requestsOf(uint256 nodeId) external view returns (uint256);

    /// @notice True when the node's request was answered
    function isAnswered(uint256 nodeId, uint256 requestId) external view returns (bool);
}
