// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";

import {IGridManagement} from "./interfaces/IGridManagement.sol";

/// @title GridManagement: metrics of the grid's nodes, one word each
contract GridManagement is IGridManagement, AccessManaged {
    /// @dev What a node's word holds.
    struct Node {
        uint88 loadW;
        uint88 capacityW;
        uint40 updatedAt;
        uint32 balancingRequests;
        bool emergency;
    }

    event GridMetricsUpdated(
        uint256 indexed nodeId, uint256 loadW, uint256 capacityW, uint256 stability
    );
    event EmergencyStarted(uint256 indexed nodeId, uint256 stability);
    event EmergencyEnded(uint256 indexed nodeId, uint256 stability);

    /// @notice The community is asked to relieve a node
    /// @param overloadW what is above the capacity; 0 when the node is only near it
    event LoadBalancingTriggered(
        uint256 indexed nodeId, uint256 indexed requestId, uint256 overloadW, uint256 stability
    );

    error NodeUnknown(uint256 nodeId);
    error PowerOutOfRange(uint256 powerW);
    error CapacityZero(uint256 nodeId);
    error ThresholdsInvalid(uint256 emergencyBelow, uint256 normalFrom);

    uint256 private constant _STABLE = 1e6;

    /// @notice An emergency starts when stability falls below this (0..1e6)
    uint256 public immutable emergencyBelow;
    /// @notice An emergency ends when stability is at least this again
    uint256 public immutable normalFrom;
    /// @notice Metrics older than this many seconds are stale
    uint256 public immutable staleAfterS;

    mapping(uint256 nodeId => Node) private _nodes;

    /// @param emergencyBelow_ e.g. 50000: less than 5 % of the capacity is free
    /// @param normalFrom_ e.g. 150000: 15 % are free again
    /// @param staleAfterS_ e.g. three delivery intervals
    constructor(
        address authority,
        uint256 emergencyBelow_,
        uint256 normalFrom_,
        uint256 staleAfterS_
    ) AccessManaged(authority) {
        if (emergencyBelow_ > normalFrom_ || normalFrom_ > _STABLE) {
            revert ThresholdsInvalid(emergencyBelow_, normalFrom_);
        }
        emergencyBelow = emergencyBelow_;
        normalFrom = normalFrom_;
        staleAfterS = staleAfterS_;
    }

    /// @inheritdoc IGridManagement
    function updateGridMetrics(uint256 nodeId, uint256 load, uint256 capacity) external restricted {
        if (capacity == 0) revert CapacityZero(nodeId);
        if (load > type(uint88).max) revert PowerOutOfRange(load);
        if (capacity > type(uint88).max) revert PowerOutOfRange(capacity);
        Node memory node = _nodes[nodeId];
        node.loadW = uint88(load);
        node.capacityW = uint88(capacity);
        node.updatedAt = uint40(block.timestamp);
        uint256 stability = _stability(node);
        emit GridMetricsUpdated(nodeId, load, capacity, stability);
        if (!node.emergency && stability < emergencyBelow) {
            node.emergency = true;
            emit EmergencyStarted(nodeId, stability);
        } else if (node.emergency && stability >= normalFrom) {
            node.emergency = false;
            emit EmergencyEnded(nodeId, stability);
        }
        _nodes[nodeId] = node;
    }

    /// @inheritdoc IGridManagement
    function triggerLoadBalancing(uint256 nodeId) external restricted {
        Node memory node = _known(nodeId);
        node.balancingRequests += 1;
        _nodes[nodeId] = node;
        uint256 overloadW = node.loadW > node.capacityW ? node.loadW - node.capacityW : 0;
        emit LoadBalancingTriggered(nodeId, node.balancingRequests, overloadW, _stability(node));
    }

    /// @inheritdoc IGridManagement
    function getGridStatus(uint256 nodeId) external view returns (GridMetrics memory) {
        Node memory node = _known(nodeId);
        return GridMetrics({
            totalLoad: node.loadW,
            availableCapacity: _free(node),
            stability: _stability(node),
            emergencyStatus: node.emergency
        });
    }

    /// @notice When the node was last reported, UTC seconds; 0 for never
    function updatedAt(uint256 nodeId) external view returns (uint256) {
        return _nodes[nodeId].updatedAt;
    }

    /// @notice True when the metrics are too old to act on, or were never reported
    function isStale(uint256 nodeId) external view returns (bool) {
        return block.timestamp > _nodes[nodeId].updatedAt + staleAfterS;
    }

    function _known(uint256 nodeId) private view returns (Node memory node) {
        node = _nodes[nodeId];
        if (node.updatedAt == 0) revert NodeUnknown(nodeId);
    }

    function _free(Node memory node) private pure returns (uint256) {
        return node.capacityW > node.loadW ? node.capacityW - node.loadW : 0;
    }

    function _stability(Node memory node) private pure returns (uint256) {
        return _STABLE * _free(node) / node.capacityW;
    }
}
