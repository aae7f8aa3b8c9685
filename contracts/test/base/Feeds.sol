// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {
    AggregatorBounds,
    AggregatorV3Interface
} from "../../src/interfaces/AggregatorV3Interface.sol";

/// @title Aggregators as they occur, each with its trap
contract Aggregator is AggregatorV3Interface {
    struct Round {
        uint80 id;
        int256 answer;
        uint256 startedAt;
        uint256 updatedAt;
        uint80 answeredIn;
    }

    uint8 public decimals;
    Round internal _round;

    constructor(uint8 decimals_) {
        decimals = decimals_;
    }

    /// @dev A complete round of this second.
    function answer(int256 value) external {
        uint80 id = _round.id + 1;
        _round = Round(id, value, block.timestamp, block.timestamp, id);
    }

    function tell(Round calldata round) external {
        _round = round;
    }

    function setDecimals(uint8 decimals_) external {
        decimals = decimals_;
    }

    function latestRoundData()
        external
        view
        virtual
        returns (uint80, int256, uint256, uint256, uint80)
    {
        Round memory round = _round;
        return (round.id, round.answer, round.startedAt, round.updatedAt, round.answeredIn);
    }

    function getRoundData(uint80)
        external
        view
        virtual
        returns (uint80, int256, uint256, uint256, uint80)
    {
        return this.latestRoundData();
    }

    function description() external pure returns (string memory) {
        return "EUR / USD";
    }

    function version() external pure returns (uint256) {
        return 4;
    }
}

/// @dev Reports its limits where the price is beyond them, and says what they are.
contract BoundedAggregator is Aggregator {
    int192 public immutable minAnswer;
    int192 public immutable maxAnswer;

    constructor(uint8 decimals_, int192 min, int192 max) Aggregator(decimals_) {
        minAnswer = min;
        maxAnswer = max;
    }
}

/// @dev Stands before another aggregator, as Chainlink's proxies do.
contract AggregatorProxy is Aggregator {
    address public immutable aggregator;

    constructor(Aggregator behind) Aggregator(behind.decimals()) {
        aggregator = address(behind);
    }

    function latestRoundData()
        external
        view
        override
        returns (uint80, int256, uint256, uint256, uint80)
    {
        return Aggregator(aggregator).latestRoundData();
    }
}

/// @dev Burns whatever gas it gets, from the moment that it is told to.
contract GreedyAggregator is Aggregator(8) {
    bool private _greedy;

    function turn() external {
        _greedy = true;
    }

    function latestRoundData()
        external
        view
        override
        returns (uint80, int256, uint256, uint256, uint80)
    {
        while (_greedy) {}
        Round memory round = _round;
        return (round.id, round.answer, round.startedAt, round.updatedAt, round.answeredIn);
    }
}

/// @dev Says rounds and limits only after much work, more than a caller may leave it.
contract LaboriousAggregator is Aggregator(8) {
    uint256 private constant _WORK = 150_000;

    function latestRoundData()
        external
        view
        override
        returns (uint80, int256, uint256, uint256, uint80)
    {
        _work();
        Round memory round = _round;
        return (round.id, round.answer, round.startedAt, round.updatedAt, round.answeredIn);
    }

    function minAnswer() external view returns (int192) {
        _work();
        return 1e8;
    }

    function maxAnswer() external view returns (int192) {
        _work();
        return 2e8;
    }

    function _work() private view {
        uint256 until = gasleft() - _WORK;
        while (gasleft() > until) {}
    }
}

/// @dev Tells rounds for ever, but its decimals no more from some moment on.
contract MuteAggregator {
    bool private _mute;

    function mute() external {
        _mute = true;
    }

    function decimals() external view returns (uint8) {
        if (!_mute) return 8;
        assembly ("memory-safe") {
            return(0, 0)
        }
    }

    function latestRoundData() external view returns (uint80, int256, uint256, uint256, uint80) {
        return (1, 1e8, block.timestamp, block.timestamp, 1);
    }
}

/// @dev Answers every call with the same bytes, or reverts with them.
contract OddAggregator {
    bytes private _answer;
    bool private _reverts;

    function set(bytes calldata data, bool reverts) external {
        (_answer, _reverts) = (data, reverts);
    }

    fallback() external {
        bytes memory data = _answer;
        bool reverts = _reverts;
        assembly ("memory-safe") {
            if reverts { revert(add(data, 32), mload(data)) }
            return(add(data, 32), mload(data))
        }
    }
}

/// @dev Answers with a hundred thousand bytes.
contract EndlessAggregator {
    fallback() external {
        assembly ("memory-safe") {
            return(0, 100000) // costs it 50,000 gas
        }
    }
}
