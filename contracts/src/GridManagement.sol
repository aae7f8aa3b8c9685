// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {BitMaps} from "@openzeppelin/contracts/utils/structs/BitMaps.sol";

import {IGridManagement} from "./interfaces/IGridManagement.sol";

/// @title GridManagement: metrics of the grid's nodes, one word each
contract GridManagement is IGridManagement, AccessManaged {
    using BitMaps for BitMaps.BitMap;

    /// @dev What a node's word holds. `emergency` is the automatic one as of the last report.
    struct Node {
        uint64 loadW;
        uint64 capacityW;
        uint40 updatedAt;
        uint40 declaredUntil;
        uint32 requests;
        bool emergency;
    }

    uint256 private constant _STABLE = 1e6;
    uint256 private constant _LIMIT_MAX_S = 7 days;

    /// @notice An emergency starts when stability falls below this (0..1e6)
    uint256 public immutable emergencyBelow;
    /// @notice An emergency ends when stability is at least this again
    uint256 public immutable normalFrom;
    /// @notice Metrics older than this many seconds are stale
    uint256 public immutable staleAfterS;
    /// @notice Longest time for which an emergency can be declared or renewed, in seconds
    uint256 public immutable declarationMaxS;

    mapping(uint256 nodeId => Node) private _nodes;
    mapping(uint256 nodeId => BitMaps.BitMap) private _answered;

    /// @param emergencyBelow_ e.g. 50000: less than 5 % of the capacity is free
    /// @param normalFrom_ e.g. 150000: 15 % are free again
    /// @param staleAfterS_ e.g. three delivery intervals; at most 7 days
    /// @param declarationMaxS_ e.g. an hour; at most 7 days
    constructor(
        address authority,
        uint256 emergencyBelow_,
        uint256 normalFrom_,
        uint256 staleAfterS_,
        uint256 declarationMaxS_
    ) AccessManaged(authority) {
        if (normalFrom_ > _STABLE) {
            revert ConfigurationInvalid("normalFrom");
        }
        if (emergencyBelow_ > normalFrom_) revert ConfigurationInvalid("emergencyBelow");
        if (staleAfterS_ == 0 || staleAfterS_ > _LIMIT_MAX_S) {
            revert ConfigurationInvalid("staleAfterS");
        }
        if (declarationMaxS_ == 0 || declarationMaxS_ > _LIMIT_MAX_S) {
            revert ConfigurationInvalid("declarationMaxS");
        }
        emergencyBelow = emergencyBelow_;
        normalFrom = normalFrom_;
        staleAfterS = staleAfterS_;
        declarationMaxS = declarationMaxS_;
    }

    /// @inheritdoc IGridManagement
    function updateGridMetrics(uint256 nodeId, uint256 load, uint256 capacity) external restricted {
        if (capacity == 0) revert CapacityZero(nodeId);
        Node memory node = _nodes[nodeId];
        if (node.emergency && _isStale(node)) {
            node.emergency = false;
            emit EmergencyLapsed(nodeId, node.updatedAt + staleAfterS);
        }
        node.loadW = _power(load);
        node.capacityW = _power(capacity);
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
        if (_isStale(node)) revert MetricsStale(nodeId, node.updatedAt);
        node.requests += 1;
        _nodes[nodeId] = node;
        uint256 overloadW = node.loadW > node.capacityW ? node.loadW - node.capacityW : 0;
        emit LoadBalancingTriggered(nodeId, node.requests, overloadW, _stability(node));
    }

    /// @inheritdoc IGridManagement
    function answerLoadBalancing(uint256 nodeId, uint256 requestId, uint256 relievedW)
        external
        restricted
    {
        if (requestId == 0 || requestId > _nodes[nodeId].requests) {
            revert RequestUnknown(nodeId, requestId);
        }
        BitMaps.BitMap storage answered = _answered[nodeId];
        if (answered.get(requestId)) revert RequestAlreadyAnswered(nodeId, requestId);
        answered.set(requestId);
        emit LoadBalancingAnswered(nodeId, requestId, _power(relievedW));
    }

    /// @inheritdoc IGridManagement
    function declareEmergency(uint256 nodeId, uint256 durationS) external restricted {
        if (durationS > declarationMaxS) revert DurationTooLong(durationS, declarationMaxS);
        Node memory node = _known(nodeId);
        if (durationS != 0) {
            node.declaredUntil = uint40(block.timestamp + durationS);
            emit EmergencyDeclared(nodeId, node.declaredUntil);
        } else {
            if (!_isDeclared(node)) revert EmergencyNotDeclared(nodeId);
            node.declaredUntil = 0;
            emit EmergencyWithdrawn(nodeId);
        }
        _nodes[nodeId] = node;
    }

    /// @inheritdoc IGridManagement
    function getGridStatus(uint256 nodeId) external view returns (GridMetrics memory) {
        Node memory node = _known(nodeId);
        return GridMetrics({
            totalLoad: node.loadW,
            availableCapacity: _free(node),
            stability: _stability(node),
            emergencyStatus: _isAutomatic(node) || _isDeclared(node)
        });
    }

    /// @inheritdoc IGridManagement
    function updatedAt(uint256 nodeId) external view returns (uint256) {
        return _nodes[nodeId].updatedAt;
    }

    /// @inheritdoc IGridManagement
    function isStale(uint256 nodeId) external view returns (bool) {
        return _isStale(_nodes[nodeId]);
    }

    /// @inheritdoc IGridManagement
    function emergencyOf(uint256 nodeId)
        external
        view
        returns (uint256 automaticUntil, uint256 declaredUntil)
    {
        Node memory node = _known(nodeId);
        if (_isAutomatic(node)) automaticUntil = node.updatedAt + staleAfterS;
        if (_isDeclared(node)) declaredUntil = node.declaredUntil;
    }

    /// @inheritdoc IGridManagement
    function requestsOf(uint256 nodeId) external view returns (uint256) {
        return _nodes[nodeId].requests;
    }

    /// @inheritdoc IGridManagement
    function isAnswered(uint256 nodeId, uint256 requestId) external view returns (bool) {
        return _answered[nodeId].get(requestId);
    }

    function _known(uint256 nodeId) private view returns (Node memory node) {
        node = _nodes[nodeId];
        if (node.updatedAt == 0) revert NodeUnknown(nodeId);
    }

    function _isStale(Node memory node) private view returns (bool) {
        return block.timestamp > node.updatedAt + staleAfterS;
    }

    function _isAutomatic(Node memory node) private view returns (bool) {
        return node.emergency && !_isStale(node);
    }

    function _isDeclared(Node memory node) private view returns (bool) {
        return block.timestamp < node.declaredUntil;
    }

    function _power(uint256 powerW) private pure returns (uint64) {
        if (powerW > type(uint64).max) revert PowerOutOfRange(powerW);
        return uint64(powerW);
    }

    function _free(Node memory node) private pure returns (uint256) {
        return node.capacityW > node.loadW ? node.capacityW - node.loadW : 0;
    }

    function _stability(Node memory node) private pure returns (uint256) {
        return _STABLE * _free(node) / node.capacityW;
    }
}
