// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {Compliance} from "../../src/Compliance.sol";
import {IComplianceRules} from "../../src/interfaces/IComplianceRules.sol";
import {Batches, TestOrder} from "./Batches.sol";
import {Community} from "./Community.sol";
import {VM} from "./Vm.sol";

/// @title Regulated: a community whose market has rules, and an officer that sets them
abstract contract Regulated is Community {
    uint64 internal constant NEW_YEAR_2028 = 1_830_297_600;
    uint256 internal constant UNITS_PER_WH = 1e15;

    function setUp() public virtual override {
        super.setUp();
        ledger.setCompliance(address(compliance), true);
        fund(alice);
        fund(bob);
    }

    /// @dev Another one, which is not in force.
    function newCompliance() internal returns (Compliance made) {
        made = new Compliance(address(authority), ledger);
        string memory roles = VM.readFile("roles.json");
        string[] memory calls = VM.parseJsonStringArray(roles, ".compliance.functions.Compliance");
        bytes4[] memory selectors = new bytes4[](calls.length);
        for (uint256 i; i < calls.length; ++i) {
            selectors[i] = bytes4(keccak256(bytes(calls[i])));
        }
        uint64 role = uint64(VM.parseJsonUint(roles, ".compliance.id"));
        authority.setTargetFunctionRole(address(made), selectors, role);
    }

    /* WHAT THE OFFICER DOES */

    function enact(bool allowList, bool licences, uint48 saleCapWh, uint32 licenceGraceS) internal {
        VM.prank(complianceOfficer);
        compliance.setRules(IComplianceRules.Rules(allowList, licences, saleCapWh, licenceGraceS));
    }

    function list(address account) internal {
        VM.prank(complianceOfficer);
        compliance.setListed(account, true);
    }

    function license(address account, uint256 until) internal {
        VM.prank(complianceOfficer);
        compliance.setLicence(account, uint40(until));
    }

    function cap(address account, uint48 capWh) internal {
        VM.prank(complianceOfficer);
        compliance.setSaleCap(account, capWh);
    }

    function exempt(address account) internal {
        VM.prank(complianceOfficer);
        compliance.setExempt(account, true);
    }

    function block_(address account, bool sending, bool receiving) internal {
        VM.prank(complianceOfficer);
        compliance.setBlocked(account, sending, receiving);
    }

    function freeze(address account, uint256 amount) internal {
        VM.prank(address(token));
        compliance.setFrozenTokens(account, amount);
    }

    /* BATCHES */

    /// @dev Settle at the first second in which it can be.
    function settleAt(uint64 start, TestOrder[] memory orders) internal {
        if (block.timestamp < start + INTERVAL_S) VM.warp(start + INTERVAL_S);
        settle(start, orders);
    }

    function refused(uint64 start, TestOrder[] memory orders, bytes memory why) internal {
        if (block.timestamp < start + INTERVAL_S) VM.warp(start + INTERVAL_S);
        bytes memory rows = Batches.pack(ledger, start, orders);
        VM.prank(operator);
        VM.expectRevert(why);
        ledger.settleBatch(start, "readings", "receipts", rows);
    }

    /// @dev Tell compliance of one account's sale, as its ledger would.
    function book(uint64 start, address account, uint48 energyWh) internal {
        TestOrder memory order;
        order.side = Batches.SELL;
        order.executedWh = energyWh;
        bytes memory row = Batches.encode(account, order, 0, 0);
        VM.prank(address(ledger));
        compliance.afterBatch(start, row);
    }

    function ledgerFlags(address account) internal view returns (uint256 flags) {
        (,,,, flags) = ledger.accountOf(account);
    }
}
