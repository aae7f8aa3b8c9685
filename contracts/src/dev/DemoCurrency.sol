// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";

/// @title DemoCurrency: a settlement currency for local chains; never deploy it anywhere else
contract DemoCurrency is ERC20, ERC20Permit, ERC3009 {
    error MinterOnly(address caller);

    /// @notice The deployer
    address public immutable minter = msg.sender;

    constructor() ERC20("Demo Euro", "DEUR") ERC20Permit("Demo Euro") {}

    /// @notice Make money; the deployer only
    function mint(address account, uint256 moneyMicro) external {
        if (msg.sender != minter) revert MinterOnly(msg.sender);
        _mint(account, moneyMicro);
    }

    function decimals() public pure override returns (uint8) {
        return 6;
    }
}
