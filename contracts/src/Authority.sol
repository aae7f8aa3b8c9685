// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {AccessManager} from "@openzeppelin/contracts/access/manager/AccessManager.sol";

/// @title Authority: who may call what, when; OpenZeppelin's AccessManager, unchanged
/// @dev The roles and their functions are in `contracts/roles.json`.
contract Authority is AccessManager {
    constructor(address admin) AccessManager(admin) {}
}
