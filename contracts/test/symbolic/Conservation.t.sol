// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {EnergyLedger} from "../../src/EnergyLedger.sol";
import {AccountWord} from "../../src/types/AccountWord.sol";
import {LedgerProof} from "./LedgerProof.sol";

/// @title ConservationProof: nothing appears and nothing is lost, whatever is brought (I1, I2)
/// @dev For any accounts and amounts; a batch's rows are in `RowProof`. Proved by halmos for all
/// arguments, see `script/analyse halmos`.
contract ConservationProof is LedgerProof {
    /// @dev What the ledger holds for two accounts (which may be one) and the fees' pot.
    struct Sums {
        uint256 energyWh;
        uint256 energyWhTotal;
        uint256 moneyMicro;
    }

    /// @dev After rows as `RowProof` shows them, as much was sold as bought, and the total follows
    /// what was minted and burned.
    function checkClosingConservesEnergy(EnergyLedger.Batch calldata batch, uint40 energyWh)
        external
    {
        _putTotals(0, energyWh);
        if (!_close(batch)) return;
        assert(batch.bought >> 160 == batch.sold >> 160);
        uint256 mintedWh = uint96(batch.sold >> 64);
        assert(ledger.energyWhTotal() + uint96(batch.bought >> 64) == energyWh + mintedWh);
    }

    /// @dev And what was paid and not received is in the fees' pot.
    function checkClosingConservesMoney(EnergyLedger.Batch calldata batch, uint40 feesMicro)
        external
    {
        _putTotals(feesMicro, type(uint40).max / 2);
        if (!_close(batch)) return;
        unchecked {
            int256 fees = batch.paidMicro - batch.receivedMicro;
            assert(fees >= 0 && ledger.feesMicro() == feesMicro + uint256(fees));
        }
    }

    function checkTokenConserves(
        address a,
        address b,
        AccountWord firstWord,
        AccountWord secondWord,
        uint40 energyWh,
        uint256 amount
    ) external {
        _put(a, firstWord);
        if (a != b) _put(b, secondWord);
        _putTotals(0, energyWh);
        Sums memory before = _sumsOf(a, b);
        if (before.energyWh > before.energyWhTotal) return; // never: the total is all accounts'
        _tryCall(abi.encodeCall(ledger.moveEnergy, (a, b, amount)));
        _assertConserved(before, _sumsOf(a, b));
        _tryCall(abi.encodeCall(ledger.mintEnergy, (a, amount)));
        _assertConserved(before, _sumsOf(a, b));
        _tryCall(abi.encodeCall(ledger.burnEnergy, (b, amount)));
        _assertConserved(before, _sumsOf(a, b));
    }

    function checkFeesConserve(AccountWord word, uint40 feesMicro) external {
        _put(treasury, word);
        _putTotals(feesMicro, 0);
        Sums memory before = _sumsOf(treasury, treasury);
        _tryCall(abi.encodeCall(ledger.collectFees, ()));
        _assertConserved(before, _sumsOf(treasury, treasury));
    }

    function checkDepositCreditsWhatArrives(address account, AccountWord word, uint256 amount)
        external
    {
        _put(account, word);
        currency.mint(address(this), amount);
        currency.approve(address(ledger), amount);
        bool done = _tryCall(abi.encodeCall(ledger.depositFor, (account, amount)));
        uint256 credited = _wordOf(account).moneyMicro() - word.moneyMicro();
        assert(credited == currency.balanceOf(address(ledger)));
        assert(credited == (done ? amount : 0));
    }

    function _close(EnergyLedger.Batch calldata batch) private returns (bool) {
        if (int192(batch.paidMicro) != batch.paidMicro) return false;
        if (int192(batch.receivedMicro) != batch.receivedMicro) return false;
        return _tryCall(abi.encodeCall(ledger.close, (batch)));
    }

    function _sumsOf(address a, address b) private view returns (Sums memory sums) {
        sums.energyWhTotal = ledger.energyWhTotal();
        sums.energyWh = _wordOf(a).energyWh();
        sums.moneyMicro = _wordOf(a).moneyMicro() + ledger.feesMicro();
        if (a == b) return sums;
        sums.energyWh += _wordOf(b).energyWh();
        sums.moneyMicro += _wordOf(b).moneyMicro();
    }

    function _assertConserved(Sums memory before, Sums memory now_) private pure {
        assert(now_.moneyMicro == before.moneyMicro);
        assert(now_.energyWh + before.energyWhTotal == before.energyWh + now_.energyWhTotal);
    }
}
