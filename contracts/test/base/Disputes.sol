// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {ReadingDisputes} from "../../src/ReadingDisputes.sol";
import {IEnergyLedger} from "../../src/interfaces/IEnergyLedger.sol";
import {IReadingDisputes} from "../../src/interfaces/IReadingDisputes.sol";
import {Batches, TestOrder} from "./Batches.sol";
import {Meters} from "./Meters.sol";
import {VM} from "./Vm.sol";

/// @dev The readings behind a settlement, as its signer puts them into a tree.
struct Tree {
    uint256[] keys;
    uint256[] readings;
    bytes32[] leaves;
}

/// @title Disputes: a bonded operator, a settled interval and its readings
/// @dev Alice sells to Bob. `tree()` holds opening and closing of Alice's and Bob's meter and a fifth
/// reading, so that one leaf moves up alone.
abstract contract Disputes is Meters {
    uint256 internal constant SIGNER = 0x0E; // the operator's key
    uint256 internal constant BOUNTY = BOUNTY_MICRO;
    uint256 internal constant BOBS_METER = METER + 50;
    uint256 internal constant OPENING_WH = 10_000;
    uint256 internal constant SOLD_WH = 1_000;
    uint64 internal constant END = START + INTERVAL_S;

    address internal immutable finder = VM.addr(0xF1);

    function setUp() public virtual override {
        super.setUp();
        bond(operator, 10 * BOUNTY);
        bond(alice, 3 * BOUNTY);
        register(METER, ALICE);
        register(BOBS_METER, BOB);
    }

    function newDisputes(IEnergyLedger ledger_) internal returns (ReadingDisputes) {
        return new ReadingDisputes(ledger_, registry, treasury, BOUNTY, BOND_DELAY_S);
    }

    /* MONEY */

    function bond(address account, uint256 moneyMicro) internal {
        currency.mint(address(this), moneyMicro);
        currency.approve(address(disputes), moneyMicro);
        disputes.postBond(account, moneyMicro);
    }

    function bondOf(address account) internal view returns (uint256 moneyMicro) {
        (moneyMicro,,) = disputes.bondOf(account);
    }

    /* TREES */

    /// @dev Alice's meter gives `producedWh` in the interval.
    function tree(uint256 producedWh) internal view returns (Tree memory) {
        uint256[] memory keys = new uint256[](5);
        uint256[] memory readings = new uint256[](5);
        (keys[0], readings[0]) = (METER, packReading(START, 1, 700, OPENING_WH));
        (keys[1], readings[1]) = (METER, packReading(END, 2, 700, OPENING_WH + producedWh));
        (keys[2], readings[2]) = (BOBS_METER, packReading(START, 1, 50, 0));
        (keys[3], readings[3]) = (BOBS_METER, packReading(END, 2, 50 + SOLD_WH, 0));
        (keys[4], readings[4]) = (METER + 99, packReading(END, 1, 0, 0));
        return tree(keys, readings);
    }

    function tree(uint256[] memory keys, uint256[] memory readings)
        internal
        view
        returns (Tree memory)
    {
        bytes32[] memory leaves = new bytes32[](keys.length);
        for (uint256 i; i < keys.length; ++i) {
            leaves[i] = leafOf(deviceOf(keys[i]), readings[i], signReading(keys[i], readings[i]));
        }
        return Tree(keys, readings, leaves);
    }

    /// @dev As `protocol/receipts.py` makes it, of a reading and what stands there as its signature.
    function leafOf(uint256 deviceId, uint256 reading, bytes memory signature)
        internal
        view
        returns (bytes32)
    {
        (bytes32 r, bytes32 s, bytes32 previous, bytes32 samples) =
            abi.decode(signature, (bytes32, bytes32, bytes32, bytes32));
        bytes32 tag = keccak256("energy-trade/reading/2");
        bytes32 digest = readingDigest(deviceId, reading, previous, samples);
        return keccak256(abi.encodePacked(keccak256(abi.encodePacked(tag, digest, r, s))));
    }

    /// @dev As `protocol/merkle.py` makes it: the last one of an odd level moves up.
    function parentsOf(bytes32[] memory level) internal pure returns (bytes32[] memory parents) {
        parents = new bytes32[]((level.length + 1) / 2);
        for (uint256 i; i < parents.length; ++i) {
            bool alone = 2 * i + 1 == level.length;
            parents[i] = alone ? level[2 * i] : nodeOf(level[2 * i], level[2 * i + 1]);
        }
    }

    function nodeOf(bytes32 a, bytes32 b) internal pure returns (bytes32) {
        return a < b ? keccak256(abi.encode(a, b)) : keccak256(abi.encode(b, a));
    }

    function rootOf(Tree memory of_) internal pure returns (bytes32) {
        bytes32[] memory level = of_.leaves;
        while (level.length > 1) level = parentsOf(level);
        return level[0];
    }

    function pathOf(Tree memory of_, uint256 index) internal pure returns (bytes32[] memory path) {
        bytes32[] memory level = of_.leaves;
        for (; level.length > 1; level = parentsOf(level)) {
            if (index ^ 1 < level.length) path = _append(path, level[index ^ 1]);
            index /= 2;
        }
    }

    function settled(Tree memory of_, uint256 index)
        internal
        view
        returns (IReadingDisputes.SettledReading memory)
    {
        return IReadingDisputes.SettledReading(
            of_.readings[index],
            signReading(of_.keys[index], of_.readings[index]),
            pathOf(of_, index)
        );
    }

    /// @dev The reading at `index` with a signature of the tree's maker's, in the tree too.
    function invented(Tree memory of_, uint256 index, bytes memory signature)
        internal
        view
        returns (IReadingDisputes.SettledReading memory)
    {
        (uint256 deviceId, uint256 reading) = (deviceOf(of_.keys[index]), of_.readings[index]);
        of_.leaves[index] = leafOf(deviceId, reading, signature);
        return IReadingDisputes.SettledReading(reading, signature, pathOf(of_, index));
    }

    /// @dev The readings at `index` and behind it are one meter's.
    function span(Tree memory of_, uint256 index)
        internal
        view
        returns (IReadingDisputes.MeterSpan memory)
    {
        return IReadingDisputes.MeterSpan(
            deviceOf(of_.keys[index]), settled(of_, index), settled(of_, index + 1)
        );
    }

    function spans(Tree memory of_)
        internal
        view
        returns (IReadingDisputes.MeterSpan[] memory only)
    {
        only = new IReadingDisputes.MeterSpan[](1);
        only[0] = span(of_, 0);
    }

    /* STATEMENTS */

    /// @dev What the operator states about the interval with this tree and these rows.
    function stated(Tree memory of_, bytes memory rows)
        internal
        view
        returns (IReadingDisputes.Settlement memory made)
    {
        made = IReadingDisputes.Settlement(
            START, 0, keccak256(rows), rootOf(of_), "receipts", operator, 0, 0
        );
        sign(made, SIGNER);
    }

    function sign(IReadingDisputes.Settlement memory statement, uint256 key) internal view {
        statement.signer = VM.addr(key);
        (statement.r, statement.vs) = Batches.compact(key, disputes.settlementDigest(statement));
    }

    /// @dev Alice's sale to Bob, settled on the ledger, whatever her meter says.
    function settleTrade(uint48 energyWh) internal returns (bytes memory rows) {
        fund(bob);
        rows = Batches.pack(ledger, START, trade(energyWh));
        settleRows(START, rows);
    }

    /* EVIDENCE */

    /// @dev Against Alice's meter: its settled reading at `index` and another one of it.
    function accuse(Tree memory of_, uint256 index, uint256 other) internal returns (uint256) {
        return accuse(stated(of_, "rows"), of_, index, other);
    }

    function accuse(
        IReadingDisputes.Settlement memory statement,
        Tree memory of_,
        uint256 index,
        uint256 other
    ) internal returns (uint256) {
        IReadingDisputes.SettledReading memory known = settled(of_, index);
        bytes memory signature = signReading(of_.keys[index], other);
        uint256 deviceId = deviceOf(of_.keys[index]);
        VM.prank(finder);
        return disputes.disputeMeter(statement, deviceId, known, other, signature);
    }

    function refusesAccusation(Tree memory of_, uint256 index, uint256 other, bytes memory why)
        internal
    {
        refusesAccusation(stated(of_, "rows"), of_, index, other, why);
    }

    function refusesAccusation(
        IReadingDisputes.Settlement memory statement,
        Tree memory of_,
        uint256 index,
        uint256 other,
        bytes memory why
    ) internal {
        IReadingDisputes.SettledReading memory known = settled(of_, index);
        bytes memory signature = signReading(of_.keys[index], other);
        uint256 deviceId = deviceOf(of_.keys[index]);
        VM.prank(finder);
        VM.expectRevert(why);
        disputes.disputeMeter(statement, deviceId, known, other, signature);
    }

    function _append(bytes32[] memory list, bytes32 item)
        private
        pure
        returns (bytes32[] memory longer)
    {
        longer = new bytes32[](list.length + 1);
        for (uint256 i; i < list.length; ++i) {
            longer[i] = list[i];
        }
        longer[list.length] = item;
    }
}
