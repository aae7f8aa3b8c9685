// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {EnergyLedger} from "../../src/EnergyLedger.sol";
import {IEnergyLedger} from "../../src/interfaces/IEnergyLedger.sol";

/// @title LedgerHarness: the ledger, with a batch's steps as calls of their own
/// @dev It adds ways in and changes nothing: each step is the ledger's own function.
contract LedgerHarness is EnergyLedger {
    constructor(address authority, IEnergyLedger.Terms memory terms)
        EnergyLedger(authority, terms)
    {}

    /// @dev Settle rows in a batch that has come as far as `batch` says.
    function settleFrom(uint64 deliveryStart, Batch memory batch, bytes calldata rows)
        external
        returns (Batch memory)
    {
        Batch memory opened = _open(deliveryStart);
        opened.account = batch.account;
        opened.digest = batch.digest;
        opened.accountMintedWh = batch.accountMintedWh;
        opened.bought = batch.bought;
        opened.paidMicro = batch.paidMicro;
        opened.sold = batch.sold;
        opened.receivedMicro = batch.receivedMicro;
        _settleRows(opened, rows);
        return opened;
    }

    /// @dev End a batch with these sums.
    function close(Batch memory batch) external {
        uint256 feesMicro = _checkBalanced(batch);
        _addToTotals(_totals, batch, feesMicro);
    }
}
